"""The object that `@task` returns: it can be called like the function that it wraps, and submitted as a job.

The client and asyncio are imported on first use, so that Jobyard's own processes do not load them.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from jobyard.engine.client_import import import_client
from jobyard.engine.jobs.json_text import NotJson, to_json_text
from jobyard.engine.jobs.unsent import UnsentJob
from jobyard.engine.tasks.parameters import FieldParameters, Parameters, WholePayload

if TYPE_CHECKING:
    from jobyard.engine.client.handles import AsyncJobHandle, JobHandle
    from jobyard.engine.client.values import JobOptions

P = ParamSpec("P")
R = TypeVar("R")
X = TypeVar("X")


class TaskFunction(Generic[P, R]):
    """A function registered as a task."""

    def __init__(
        self, function: Callable[P, R], *, name: str, parameters: Parameters | None = None, timeout_s: float | None = None
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, function)
        self.name = name
        self._function = function
        self._parameters = parameters or WholePayload()
        self._timeout_s = timeout_s

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle: ...

    @overload
    def submit(self: Callable[[X], R], payload: X, **options: Unpack[JobOptions]) -> JobHandle: ...

    @overload
    def submit(self: Callable[[], R], **options: Unpack[JobOptions]) -> JobHandle: ...

    def submit(self, *args: Any, **kwargs: Any) -> JobHandle:
        """Submit a job of this task to the service at JOBYARD_URL, or to that of `use_client`; its id, as a handle.

        It takes what the function takes. A task with keyword-only parameters gets its options by `options(…)`; any other also takes
        them here. Raises `TypeError`, before anything is sent, when the arguments do not fit the parameters.
        """
        return _submit(self, args, kwargs)

    @overload
    async def submit_async(self, *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle: ...

    @overload
    async def submit_async(self: Callable[[X], R], payload: X, **options: Unpack[JobOptions]) -> AsyncJobHandle: ...

    @overload
    async def submit_async(self: Callable[[], R], **options: Unpack[JobOptions]) -> AsyncJobHandle: ...

    async def submit_async(self, *args: Any, **kwargs: Any) -> AsyncJobHandle:
        """`submit` for asynchronous code: does not block the event loop. The handle's methods are coroutines."""
        return await _submit_async(self, args, kwargs)

    def submit_many(
        self, payloads: Iterable[Any], chunk: int = 1000, *, idempotency_key: str | None = None
    ) -> list[JobHandle]:  # fmt: skip
        """Submit a job for each payload, as `Client.submit_many` does. For keyword-only parameters a payload is a dict of them."""
        return _submit_many(self, payloads, chunk, idempotency_key)

    def job(self, *args: Any, **kwargs: Any) -> UnsentJob:
        """A job of this task, to be submitted in a workflow or a batch; it takes what `submit` takes. Raises `TypeError`."""
        return UnsentJob(self.new_job(args, kwargs))

    def options(self, **options: Unpack[JobOptions]) -> TaskWithOptions[P, R]:
        """The task with options for the jobs that are submitted through what this returns: `t.options(delay_s=60).submit(…)`."""
        return TaskWithOptions(self, options)

    def new_job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the job that `submit(*args, **kwargs)` submits; raises `TypeError`.

        A task with keyword-only parameters also takes them as one dict; `kwargs` are options then.
        """
        if isinstance(self._parameters, FieldParameters) and not args:
            return {"task": self.name, "payload": self._checked(dict(kwargs))}
        options = dict(kwargs)
        return {"task": self.name, "payload": self._checked(self._payload_of(args, options)), **options}

    @overload
    def run_inline(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...

    @overload
    def run_inline(self, payload: Any = None, *, attempt: int = 1) -> Any: ...

    def run_inline(self, *args: Any, **kwargs: Any) -> Any:
        """Run it here and now as a job with this payload, with a `current_job()`: its result, or what it raises. For tests.

        `attempt=` says as which attempt; with keyword-only parameters, where these are given as one dict.
        """
        by_name = isinstance(self._parameters, FieldParameters) and not args
        attempt = 1 if by_name else int(kwargs.pop("attempt", 1))
        payload = self.new_job(args, kwargs)["payload"]
        call_inline = importlib.import_module("jobyard.engine.tasks.inline").call_inline
        return call_inline(
            lambda sent: self._parameters.bind(self._function, sent), payload, attempt=attempt, timeout_s=self._timeout_s
        )  # fmt: skip

    def _payload_of(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The one payload among the arguments; what is left in `options` are options."""
        named = [name for name in ("payload", getattr(self._parameters, "name", None)) if name in options and name is not None]
        given = [*args, *(options.pop(name) for name in dict.fromkeys(named))]
        if len(given) > 1:
            raise TypeError(f"task {self.name!r} takes one payload, but {len(given)} arguments were given")
        return given[0] if given else None

    def _checked(self, payload: Any) -> Any:
        """The payload, as the task will get it where it has keyword-only parameters; raises `TypeError`."""
        if not isinstance(self._parameters, FieldParameters):
            return payload
        try:
            sent = json.loads(to_json_text(payload, root="arguments"))
        except NotJson as wrong:
            raise TypeError(f"task {self.name!r}: {wrong}") from None
        self._parameters.arguments(sent)
        return sent

    def __reduce__(self) -> str:
        """Pickled by its qualified name, as functions are."""
        return str(vars(self)["__qualname__"])

    def __repr__(self) -> str:
        return f"<task {self.name!r}: {self._function!r}>"


class TaskWithOptions(Generic[P, R]):
    """A task and the options of the jobs to be submitted; see `TaskFunction.options`."""

    def __init__(self, task: TaskFunction[P, R], options: JobOptions) -> None:
        self.name = task.name
        self._task = task
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._task(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle:
        """See `TaskFunction.submit`."""
        return _submit(self, args, kwargs)

    async def submit_async(self, *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle:
        """See `TaskFunction.submit_async`."""
        return await _submit_async(self, args, kwargs)

    def submit_many(
        self, payloads: Iterable[Any], chunk: int = 1000, *, idempotency_key: str | None = None
    ) -> list[JobHandle]:  # fmt: skip
        """See `TaskFunction.submit_many`."""
        return _submit_many(self, payloads, chunk, idempotency_key)

    def job(self, *args: P.args, **kwargs: P.kwargs) -> UnsentJob:
        """See `TaskFunction.job`."""
        return UnsentJob(self.new_job(args, kwargs))

    def options(self, **options: Unpack[JobOptions]) -> TaskWithOptions[P, R]:
        """With these options besides, or instead."""
        return TaskWithOptions(self._task, cast("JobOptions", {**self._options, **options}))

    def new_job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """See `TaskFunction.new_job`; what the arguments say wins over the options."""
        return {**self._options, **self._task.new_job(args, kwargs)}


Submittable = TaskFunction[..., Any] | TaskWithOptions[..., Any]


def _submit(task: Submittable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> JobHandle:
    client = import_client("default").default_client()
    return cast("JobHandle", client.submit(task, *args, **kwargs))


async def _submit_async(task: Submittable, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncJobHandle:
    submit_async = import_client("default").submit_async
    return cast("AsyncJobHandle", await submit_async(task, args, kwargs))


def _submit_many(task: Submittable, payloads: Iterable[Any], chunk: int, idempotency_key: str | None) -> list[JobHandle]:
    client = import_client("default").default_client()
    jobs = ({"task": task, "payload": payload} for payload in payloads)
    return cast("list[JobHandle]", client.submit_many(jobs, chunk, idempotency_key=idempotency_key))
