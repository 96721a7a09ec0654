"""The client that `task.submit` uses: the one passed to `use_client`, else one for the service that the environment names.

`task.submit_async` uses an `AsyncClient` of its own for each call, for the same service: it may be called from any event loop.
"""

from __future__ import annotations

from typing import Any

from jobyard.engine.client.async_client import AsyncClient
from jobyard.engine.client.handles import AsyncJobHandle
from jobyard.engine.client.sync_client import Client, InThreads, for_async_code
from jobyard.engine.client.values import Named

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


def async_client() -> AsyncClient | InThreads:
    """A client for asynchronous code, for the service of the client in use; whoever asks for it closes it."""
    return for_async_code(default_client())


async def submit_async(task: Named, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncJobHandle:
    """Submit one job, as `AsyncClient.submit` does."""
    async with async_client() as client:
        submitted = await client.submit(task, *args, **kwargs)
    return AsyncJobHandle(str(submitted), async_client, existing=submitted.existing)
