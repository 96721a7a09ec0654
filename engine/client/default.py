"""The client that `task.submit` uses: the one passed to `use_client`, else one for the service that the environment names."""

from __future__ import annotations

from jobyard.engine.client.sync_client import Client

_chosen: list[Client] = []


def use_client(client: Client | None) -> Client | None:
    """Make `task.submit` use this client (None: the one of the environment); returns the previous one, for restoring it."""
    before = _chosen[0] if _chosen else None
    _chosen[:] = [] if client is None else [client]
    return before


def default_client() -> Client:
    """The client in use; at first the one of the environment."""
    if not _chosen:
        _chosen[:] = [Client()]
    return _chosen[0]
