"""What `@task` makes of a function: the same function to whoever calls it, which can also be submitted as a job.

What that takes, the client and an event loop, is loaded when it is used: no process of Jobyard's own carries it.
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
    """A function with the name of a task."""

    def __init__(self, function: Callable[P, R], *, name: str, timeout_s: float | None) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        self._function = function
        self._timeout_s = timeout_s

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def submit(self, payload: Any = None, **options: Unpack[JobOptions]) -> str:
        """Submit a job of this task to the service at JOBYARD_URL, or to the one of `client.default.use_client`; its id."""
        default_client = importlib.import_module("jobyard.engine.client.default").default_client
        return str(default_client().submit(self, payload, **options))

    def run_inline(self, payload: Any = None, *, attempt: int = 1) -> Any:
        """Run it here and now as that attempt at a job, with a `current_job()`: its result, or what it raises. For tests."""
        call_inline = importlib.import_module("jobyard.engine.tasks.inline").call_inline
        return call_inline(self._function, payload, attempt=attempt, timeout_s=self._timeout_s)

    def __reduce__(self) -> str:
        """It travels to other processes by its place in its module, as functions do."""
        return str(vars(self)["__qualname__"])

    def __repr__(self) -> str:
        return f"<task {self.name!r}: {self._function!r}>"
