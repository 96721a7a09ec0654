"""The client for synchronous code: performs the operations of `core.py` in the calling thread."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, Unpack, overload

import anyio.to_thread
import httpx

from jobyard.engine.client.async_client import AsyncClient
from jobyard.engine.client.batches import Chunker, one_chunk
from jobyard.engine.client.core import Core, Submitted, list_path
from jobyard.engine.client.environment import find_service
from jobyard.engine.client.handles import JobHandle
from jobyard.engine.client.interception import interceptor
from jobyard.engine.client.steps import NoAnswer, Operation, Pause, Request, Response
from jobyard.engine.client.values import Execution, Health, Job, JobOptions, Named, NewJob, RetryEdits, WithParameters
from jobyard.engine.client.wire import Address, response_of
from jobyard.engine.jobs.unsent import UnsentJob, Workflow
from jobyard.engine.world import World

P = ParamSpec("P")
T = TypeVar("T")


class Client:
    """A client of Jobyard. It can be shared by threads, and used on both sides of a fork.

    Without `url` it is one of the service that the environment names: JOBYARD_URL with JOBYARD_TOKEN (docs/your-project.md).
    `timeout_s`: how long to wait for the answer to a request. `retry_s`: how long to repeat idempotent requests while the service
    cannot be reached or is busy. `http`: an `httpx.Client` of your own, for proxies, certificates and the like.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, timeout_s: float = 10, *, retry_s: float = 30,
        http: httpx.Client | None = None,
    ) -> None:  # fmt: skip
        address, its_token = find_service(url, token)
        self._address = Address(url=address, token=its_token, timeout_s=timeout_s)
        self._core = Core(World(), retry_s=retry_s)
        self._given = http
        self._own: dict[int, httpx.Client] = {}
        self._never = threading.Event()

    @overload
    def submit(self, task: WithParameters[P], *args: P.args, **kwargs: P.kwargs) -> JobHandle: ...

    @overload
    def submit(self, task: str | Named = "echo", payload: Any = None, **options: Unpack[JobOptions]) -> JobHandle: ...

    @overload
    def submit(self, task: Workflow) -> list[JobHandle]: ...

    def submit(self, task: Any = "echo", *args: Any, **kwargs: Any) -> JobHandle | list[JobHandle]:
        """Submit one job; returns its id, as a handle. Of a workflow, all jobs: see `submit_batch`.

        A task with keyword-only parameters gets these, and its options by `task.options(…)`; any other gets a payload and options.
        A job without an `idempotency_key` gets one, so a lost answer never creates two jobs. Raises `TypeError` when the arguments
        do not fit the task.
        """
        if isinstance(task, Workflow):
            return self.submit_batch(task.jobs())
        return self._handle(self._run(self._core.submit(task, args, kwargs)))

    def submit_batch(
        self, jobs: Iterable[UnsentJob | NewJob | Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[JobHandle]:  # fmt: skip
        """Submit up to 10,000 jobs in one request, all or none; they may name one another by `ref`. Their ids, in order.

        Job n gets the key `<idempotency_key>-<n>`, as in `submit_many`.
        """
        chunk = one_chunk(jobs, idempotency_key or self._core.new_key())
        return [self._handle(one) for one in self._run(self._core.submit_chunk(chunk))]

    def submit_many(
        self, jobs: Iterable[NewJob | Mapping[str, Any]], chunk: int = 1000, *, idempotency_key: str | None = None
    ) -> list[JobHandle]:  # fmt: skip
        """Submit any number of jobs, `chunk` at a time; returns their ids in order. Each chunk is stored completely or not at all.

        Job n gets the key `<idempotency_key>-<n>` (with a generated prefix by default): repeating the call with the same key
        stores no job twice.
        """
        chunker = Chunker(chunk, idempotency_key or self._core.new_key())
        submitted: list[Submitted] = []
        for job in jobs:
            if (full := chunker.add(job)) is not None:
                submitted += self._run(self._core.submit_chunk(full))
        if (rest := chunker.rest()) is not None:
            submitted += self._run(self._core.submit_chunk(rest))
        return [self._handle(one) for one in submitted]

    def get(self, job_id: str) -> Job:
        """The job as it is now; raises `NotFound`."""
        return self._run(self._core.get(job_id))

    def executions(self, job_id: str) -> list[Execution]:
        """Its attempts, oldest first."""
        return self._run(self._core.executions(job_id))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job once it has finished, in whatever way; raises `NotFinished` when the time is up."""
        return self._run(self._core.wait(job_id, timeout_s))

    def cancel(self, job_id: str) -> Job:
        """Cancel the job: at once, or soon if it is running. Raises `Conflict` when it has finished."""
        return self._run(self._core.cancel(job_id))

    def retry(self, job_id: str, **edits: Unpack[RetryEdits]) -> Job:
        """Give a failed or cancelled job a fresh set of retries; raises `Conflict` for any other.

        `payload`, `delay_s`, `max_retries` and `timeout_s`, where given, take the place of the job's own.
        """
        return self._run(self._core.retry(job_id, edits))

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended; raises `Conflict` while it lives, and `NotFound`."""
        self._run(self._core.delete(job_id))

    def iter_jobs(
        self, *, status: str | None = None, task: str | None = None, queue: str | None = None, text: str | None = None,
        tag: str | Sequence[str] | None = None, error_kind: str | None = None, created_after: datetime | str | None = None,
        created_before: datetime | str | None = None, group: str | None = None, page: int = 100,
    ) -> Iterator[Job]:  # fmt: skip
        """All matching jobs, newest first, fetched `page` at a time as you iterate. Of several tags, jobs have all."""
        path: str | None = list_path(
            page=page, status=status, task=task, queue=queue, text=text, tag=tag, error_kind=error_kind,
            created_after=created_after, created_before=created_before, group=group,
        )  # fmt: skip
        while path is not None:
            found = self._run(self._core.page(path))
            yield from found.jobs
            path = found.next_path

    def stats(self) -> dict[str, Any]:
        """Jobs by status, processes, and the counters of every component."""
        return self._run(self._core.stats())

    def health(self) -> Health:
        """The service's health. An unhealthy service is an answer; one that cannot be reached raises `Unreachable`."""
        return self._run(self._core.health())

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send any request of the HTTP interface (docs/http.md); returns the decoded JSON of the answer, or its text."""
        return self._run(self._core.ask(method, path, body))

    def ask_pages(self, path: str) -> Iterator[Any]:
        """Like `ask`, for every page of a list, one after the other."""
        next_path: str | None = path
        while next_path is not None:
            page, next_path = self._run(self._core.ask_page(next_path))
            yield page

    def close(self) -> None:
        """Close the connections, but not those of an `http` that was passed in."""
        own = self._own.pop(os.getpid(), None)
        if own is not None:
            own.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _handle(self, submitted: Submitted) -> JobHandle:
        return JobHandle(submitted.job_id, self, existing=submitted.existing)

    def _run(self, operation: Operation[T]) -> T:
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
                self._pause(step.seconds)
                answer = None
            else:
                answer = self._send(step)

    def _pause(self, seconds: float) -> None:
        self._never.wait(seconds)

    def _send(self, request: Request) -> Response | NoAnswer:
        try:
            return response_of(self._http().request(**self._address.arguments(request)))
        except httpx.RequestError as wrong:
            return self._address.no_answer(wrong)

    def _http(self) -> httpx.Client:
        """This process's own connections: those made before a fork belong to the parent."""
        if self._given is not None:
            return self._given
        own = self._own.get(os.getpid())
        if own is None:  # no lock, which a fork could copy while it is held; if two threads get here, the first client wins
            own = self._own.setdefault(os.getpid(), httpx.Client(**self._address.options()))
        return own


def for_async_code(client: Client) -> AsyncClient | InThreads:
    """The same client for asynchronous code; whoever asks for it closes it with `async with`."""
    if client._given is not None:
        return InThreads(client)
    address = client._address
    return AsyncClient(address.url, address.token, address.timeout_s, retry_s=client._core.retry_s)


class InThreads:
    """A client with an `httpx.Client` of its user's, which has no asynchronous form: each call takes a thread."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def submit(self, task: Any, *args: Any, **kwargs: Any) -> JobHandle:
        """See `Client.submit`."""
        return await self._call(functools.partial(self._client.submit, task, *args, **kwargs))

    async def get(self, job_id: str) -> Job:
        """See `Client.get`."""
        return await self._call(functools.partial(self._client.get, job_id))

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """See `Client.wait`."""
        return await self._call(functools.partial(self._client.wait, job_id, timeout_s))

    async def cancel(self, job_id: str) -> Job:
        """See `Client.cancel`."""
        return await self._call(functools.partial(self._client.cancel, job_id))

    async def _call(self, function: Callable[[], T]) -> T:
        """In this thread where a test carries it out, because its tasks belong there."""
        return function() if interceptor() is not None else await anyio.to_thread.run_sync(function)

    async def __aenter__(self) -> InThreads:
        return self

    async def __aexit__(self, *raised: object) -> None:
        """The client stays open."""
