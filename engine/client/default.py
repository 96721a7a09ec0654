"""The client that `task.submit` uses: the one passed to `use_client`, else one for the service that the environment names.

This is the only part of the client that reads the environment, since it runs in users' programs and not under our entry points.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobyard.engine.client.sync_client import Client
from jobyard.engine.service_address import service_token, service_url

_chosen: list[Client] = []


def use_client(client: Client | None) -> Client | None:
    """Make `task.submit` use this client (None: the one of the environment); returns the previous one, for restoring it."""
    before = _chosen[0] if _chosen else None
    _chosen[:] = [] if client is None else [client]
    return before


def default_client() -> Client:
    """The client in use; at first the one of the environment."""
    if not _chosen:
        _chosen[:] = [client_of(os.environ)]
    return _chosen[0]


def client_of(environment: Mapping[str, str]) -> Client:
    """A client for the service that these variables name; see `engine.service_address`."""
    return Client(service_url(environment), service_token(environment))
