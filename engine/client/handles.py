"""What a submission returns: the job's id, a text like any other, that can also be asked about its job."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from jobyard.engine.client.values import Job
from jobyard.engine.client_import import import_client


class JobClient(Protocol):
    """What a handle needs of its client."""

    def get(self, job_id: str) -> Job:
        """See `Client.get`."""

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """See `Client.wait`."""

    def cancel(self, job_id: str) -> Job:
        """See `Client.cancel`."""


class AsyncJobClient(Protocol):
    """The same for asynchronous code."""

    async def get(self, job_id: str) -> Job:
        """See `Client.get`."""

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """See `Client.wait`."""

    async def cancel(self, job_id: str) -> Job:
        """See `Client.cancel`."""


class JobHandle(str):
    """A job's id. `existing`: whether it is an earlier job, which holds the same unique key.

    A pickled one uses the client of its new process.
    """

    __slots__ = ("_client", "existing")
    _client: JobClient | None
    existing: bool

    def __new__(cls, job_id: str, client: JobClient | None = None, *, existing: bool = False) -> JobHandle:
        """`client`: where it was submitted; None: the one that `task.submit` uses."""
        handle = super().__new__(cls, job_id)
        handle._client = client
        handle.existing = existing
        return handle

    def get(self) -> Job:
        """The job as it is now; raises `NotFound`."""
        return self._asked().get(str(self))

    def wait(self, timeout_s: float | None = None) -> Job:
        """The job once it has finished, in whatever way; raises `NotFinished` when the time is up."""
        return self._asked().wait(str(self), timeout_s)

    def cancel(self) -> Job:
        """Cancel the job: at once, or soon if it is running. Raises `Conflict` when it has finished."""
        return self._asked().cancel(str(self))

    def _asked(self) -> JobClient:
        if self._client is not None:
            return self._client
        client: JobClient = import_client("default").default_client()
        return client

    def __reduce__(self) -> tuple[object, ...]:
        return JobHandle, (str(self),)


class AsyncJobHandle(str):
    """The same for asynchronous code: its methods are coroutines."""

    __slots__ = ("_connect", "existing")
    _connect: Callable[[], AbstractAsyncContextManager[AsyncJobClient]]
    existing: bool

    def __new__(
        cls, job_id: str, connect: Callable[[], AbstractAsyncContextManager[AsyncJobClient]], *, existing: bool = False
    ) -> AsyncJobHandle:  # fmt: skip
        """`connect`: the client to use for one call."""
        handle = super().__new__(cls, job_id)
        handle._connect = connect
        handle.existing = existing
        return handle

    async def get(self) -> Job:
        """See `JobHandle.get`."""
        async with self._connect() as client:
            return await client.get(str(self))

    async def wait(self, timeout_s: float | None = None) -> Job:
        """See `JobHandle.wait`."""
        async with self._connect() as client:
            return await client.wait(str(self), timeout_s)

    async def cancel(self) -> Job:
        """See `JobHandle.cancel`."""
        async with self._connect() as client:
            return await client.cancel(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return JobHandle, (str(self),)
