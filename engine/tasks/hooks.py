"""Hooks that users register for every executor: at its start, at its exit, and around each job.

    on_child_start ──▶ around_job: enter ── job ── exit ──▶ … ──▶ on_child_stop

All run in the executor, in the order of their definition; exit and stop run in reverse order.
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
    """The hooks registered in this process."""

    starts: list[Callable[[], object]] = field(default_factory=list)
    stops: list[Callable[[], object]] = field(default_factory=list)
    around: list[Callable[[], contextlib.AbstractContextManager[object]]] = field(default_factory=list)

    def around_this_job(self) -> contextlib.ExitStack:
        """Enter all `around_job` hooks. Closing the stack exits them in reverse; an exception is thrown into each."""
        with contextlib.ExitStack() as entered:
            for hook in self.around:
                entered.enter_context(hook())
            return entered.pop_all()


HOOKS = ChildHooks()
"""The hooks of this process; the decorators add to it."""


def on_child_start(function: Function) -> Function:
    """Call the function in every executor before its first job, to create what cannot be shared: connections, threads, seeds."""
    HOOKS.starts.append(_checked(function, "on_child_start"))
    return function


def on_child_stop(function: Function) -> Function:
    """Call the function when an executor exits normally, in reverse order of definition; not when it is killed."""
    HOOKS.stops.append(_checked(function, "on_child_stop"))
    return function


def around_job(function: AroundFunction) -> AroundFunction:
    """Run the code before the function's single `yield` before every job, and the rest after it; `current_job()` works in both."""
    if not inspect.isgeneratorfunction(function):
        raise TypeError(f"@around_job expects a generator function that yields once, not {function!r}")
    HOOKS.around.append(contextlib.contextmanager(function))
    return function


def _checked(function: Function, decorator: str) -> Function:
    if not callable(function):
        raise TypeError(f"@{decorator} takes no arguments: write it without parentheses above a function; got {function!r}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"@{decorator} expects a plain function, not the coroutine function {function.__qualname__}")
    return function
