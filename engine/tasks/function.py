"""The object that `@task` returns: it can be called like the function that it wraps, and submitted as a job.

The client and asyncio are imported on first use, so that Jobyard's own processes do not load them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

if TYPE_CHECKING:
    from jobyard.engine.client.values import JobOptions

P = ParamSpec("P")
R = TypeVar("R")


class TaskFunction(Generic[P, R]):
    """A function registered as a task."""

    def __init__(self, function: Callable[P, R], *, name: str, timeout_s: float | None) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        self._function = function
        self._timeout_s = timeout_s

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def submit(self, payload: Any = None, **options: Unpack[JobOptions]) -> str:
        """Submit a job of this task to the service at JOBYARD_URL, or to the one set by `use_client`; returns the job's id."""
        default_client = importlib.import_module("jobyard.engine.client.default").default_client
        return str(default_client().submit(self, payload, **options))

    def run_inline(self, payload: Any = None, *, attempt: int = 1) -> Any:
        """Run the task in this process as the given attempt of a job, with a `current_job()`; for tests.

        Returns its result, or raises what it raises.
        """
        call_inline = importlib.import_module("jobyard.engine.tasks.inline").call_inline
        return call_inline(self._function, payload, attempt=attempt, timeout_s=self._timeout_s)

    def __reduce__(self) -> str:
        """Pickled by its qualified name, as functions are."""
        return str(vars(self)["__qualname__"])

    def __repr__(self) -> str:
        return f"<task {self.name!r}: {self._function!r}>"
