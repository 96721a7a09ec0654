"""Functions of the user's that run in every executor: when it starts, when it exits, and around each job.

    on_child_start ──▶ around_job: enter ── job ── exit ──▶ … ──▶ on_child_stop

All run in the executor, in the order of their definition; exits and stops in reverse.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[[], object])
AroundFunction = Callable[[], Iterator[object]]


@dataclass(slots=True)
class ChildHooks:
    """The functions that are registered in this process."""

    starts: list[Callable[[], object]] = field(default_factory=list)
    stops: list[Callable[[], object]] = field(default_factory=list)
    around: list[Callable[[], contextlib.AbstractContextManager[object]]] = field(default_factory=list)

    def around_this_job(self) -> contextlib.ExitStack:
        """Enters all `around_job` functions; exits them in reverse, passing an exception on by `throw`."""
        with contextlib.ExitStack() as entered:
            for hook in self.around:
                entered.enter_context(hook())
            return entered.pop_all()


HOOKS = ChildHooks()
"""The functions registered by the decorators in this process."""


def on_child_start(function: Function) -> Function:
    """Call the function in every executor before its first job, for what processes cannot share: connections, threads, seeds."""
    HOOKS.starts.append(_checked(function, "on_child_start"))
    return function


def on_child_stop(function: Function) -> Function:
    """Call the function in every executor that exits by itself, last defined first; not in one that is killed."""
    HOOKS.stops.append(_checked(function, "on_child_stop"))
    return function


def around_job(function: AroundFunction) -> AroundFunction:
    """Run the part before the only `yield` before every job, the rest after it; `current_job()` works in both."""
    if not inspect.isgeneratorfunction(function):
        raise TypeError(f"@around_job wants a generator function that yields once, not {function!r}")
    HOOKS.around.append(contextlib.contextmanager(function))
    return function


def _checked(function: Function, decorator: str) -> Function:
    if not callable(function):
        raise TypeError(f"@{decorator} is written without parentheses, above a function, not {function!r}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"@{decorator} wants a plain function, not the coroutine function {function.__qualname__}")
    return function
