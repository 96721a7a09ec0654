"""The client that `task.submit` uses: the one that was chosen, else one for JOBYARD_URL with JOBYARD_TOKEN.

The only place of the client that reads the environment; it belongs to somebody else's program, which has no root of ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobyard.engine.client.sync_client import Client
from jobyard.engine.client.wire import DEFAULT_URL

_chosen: list[Client] = []


def use_client(client: Client | None) -> Client | None:
    """From now on `task.submit` uses this one (None: that of the environment); the one before, to be put back."""
    before = _chosen[0] if _chosen else None
    _chosen[:] = [] if client is None else [client]
    return before


def default_client() -> Client:
    """The chosen one; at first that of the environment."""
    if not _chosen:
        _chosen[:] = [client_of(os.environ)]
    return _chosen[0]


def client_of(environment: Mapping[str, str]) -> Client:
    """A client for what JOBYARD_URL and JOBYARD_TOKEN say; what is empty counts as not set."""
    return Client(environment.get("JOBYARD_URL") or DEFAULT_URL, environment.get("JOBYARD_TOKEN") or None)
