"""The client for asynchronous code (asyncio or trio): performs the operations of `core.py`, awaiting requests and pauses."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack, overload

import anyio
import httpx

from jobyard.engine.client.batches import Chunker, one_chunk
from jobyard.engine.client.core import Core, Submitted, list_path
from jobyard.engine.client.environment import find_service
from jobyard.engine.client.handles import AsyncJobHandle
from jobyard.engine.client.interception import interceptor
from jobyard.engine.client.steps import NoAnswer, Operation, Pause, Request, Response
from jobyard.engine.client.values import Execution, Health, Job, JobOptions, Named, NewJob, RetryEdits, WithParameters
from jobyard.engine.client.wire import Address, response_of
from jobyard.engine.jobs.unsent import UnsentJob, Workflow
from jobyard.engine.world import World

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient:
    """A client of Jobyard; it belongs to one event loop. Otherwise see `Client` and its methods."""

    def __init__(
        self, url: str | None = None, token: str | None = None, timeout_s: float = 10, *, retry_s: float = 30,
        http: httpx.AsyncClient | None = None,
    ) -> None:  # fmt: skip
        address, its_token = find_service(url, token)
        self._address = Address(url=address, token=its_token, timeout_s=timeout_s)
        self._core = Core(World(), retry_s=retry_s)
        self._owns_http = http is None
        self._http = http or httpx.AsyncClient(**self._address.options())

    @overload
    async def submit(self, task: WithParameters[P], *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle: ...

    @overload
    async def submit(self, task: str | Named = "echo", payload: Any = None, **options: Unpack[JobOptions]) -> AsyncJobHandle: ...

    @overload
    async def submit(self, task: Workflow) -> list[AsyncJobHandle]: ...

    async def submit(self, task: Any = "echo", *args: Any, **kwargs: Any) -> AsyncJobHandle | list[AsyncJobHandle]:
        """See `Client.submit`; the methods of this handle are coroutines."""
        if isinstance(task, Workflow):
            return await self.submit_batch(task.jobs())
        return self._handle(await self._run(self._core.submit(task, args, kwargs)))

    async def submit_batch(
        self, jobs: Iterable[UnsentJob | NewJob | Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[AsyncJobHandle]:  # fmt: skip
        """See `Client.submit_batch`."""
        chunk = one_chunk(jobs, idempotency_key or self._core.new_key())
        return [self._handle(one) for one in await self._run(self._core.submit_chunk(chunk))]

    async def submit_many(
        self, jobs: Iterable[NewJob | Mapping[str, Any]] | AsyncIterable[NewJob | Mapping[str, Any]], chunk: int = 1000, *,
        idempotency_key: str | None = None,
    ) -> list[AsyncJobHandle]:  # fmt: skip
        """See `Client.submit_many`; the jobs may also come from an asynchronous iterable."""
        chunker = Chunker(chunk, idempotency_key or self._core.new_key())
        submitted: list[Submitted] = []
        async for job in _iterate(jobs):
            if (full := chunker.add(job)) is not None:
                submitted += await self._run(self._core.submit_chunk(full))
        if (rest := chunker.rest()) is not None:
            submitted += await self._run(self._core.submit_chunk(rest))
        return [self._handle(one) for one in submitted]

    async def get(self, job_id: str) -> Job:
        """See `Client.get`."""
        return await self._run(self._core.get(job_id))

    async def executions(self, job_id: str) -> list[Execution]:
        """See `Client.executions`."""
        return await self._run(self._core.executions(job_id))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """See `Client.wait`."""
        return await self._run(self._core.wait(job_id, timeout_s))

    async def cancel(self, job_id: str) -> Job:
        """See `Client.cancel`."""
        return await self._run(self._core.cancel(job_id))

    async def retry(self, job_id: str, **edits: Unpack[RetryEdits]) -> Job:
        """See `Client.retry`."""
        return await self._run(self._core.retry(job_id, edits))

    async def delete(self, job_id: str) -> None:
        """See `Client.delete`."""
        await self._run(self._core.delete(job_id))

    async def iter_jobs(
        self, *, status: str | None = None, task: str | None = None, queue: str | None = None, text: str | None = None,
        tag: str | Sequence[str] | None = None, error_kind: str | None = None, created_after: datetime | str | None = None,
        created_before: datetime | str | None = None, group: str | None = None, page: int = 100,
    ) -> AsyncIterator[Job]:  # fmt: skip
        """See `Client.iter_jobs`."""
        path: str | None = list_path(
            page=page, status=status, task=task, queue=queue, text=text, tag=tag, error_kind=error_kind,
            created_after=created_after, created_before=created_before, group=group,
        )  # fmt: skip
        while path is not None:
            found = await self._run(self._core.page(path))
            for job in found.jobs:
                yield job
            path = found.next_path

    async def stats(self) -> dict[str, Any]:
        """See `Client.stats`."""
        return await self._run(self._core.stats())

    async def health(self) -> Health:
        """See `Client.health`."""
        return await self._run(self._core.health())

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """See `Client.ask`."""
        return await self._run(self._core.ask(method, path, body))

    async def ask_pages(self, path: str) -> AsyncIterator[Any]:
        """See `Client.ask_pages`."""
        next_path: str | None = path
        while next_path is not None:
            page, next_path = await self._run(self._core.ask_page(next_path))
            yield page

    async def aclose(self) -> None:
        """Close the connections, but not those of an `http` that was passed in."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()

    def _handle(self, submitted: Submitted) -> AsyncJobHandle:
        return AsyncJobHandle(submitted.job_id, lambda: nullcontext(self), existing=submitted.existing)

    async def _run(self, operation: Operation[T]) -> T:
        if (caught := interceptor()) is not None:
            return caught.run(operation)
        answer: Response | NoAnswer | None = None
        while True:
            try:
                step = operation.send(answer)
            except StopIteration as end:
                returned: T = end.value
                return returned
            if isinstance(step, Pause):
                await self._pause(step.seconds)
                answer = None
            else:
                answer = await self._send(step)

    async def _pause(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def _send(self, request: Request) -> Response | NoAnswer:
        try:
            return response_of(await self._http.request(**self._address.arguments(request)))
        except httpx.RequestError as wrong:
            return self._address.no_answer(wrong)


async def _iterate(jobs: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(jobs, AsyncIterable):
        async for job in jobs:
            yield job
    else:
        for job in jobs:
            yield job
