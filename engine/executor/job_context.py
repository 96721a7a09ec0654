"""Calls each task in a copy of the child's context, inside the `@around_job` hooks, and runs coroutines in the child's event loop.

Context variables and decimal settings of one job are therefore not visible to the next.
"""

from __future__ import annotations

import contextvars
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from jobyard.engine.tasks.hooks import HOOKS

TaskCall = Callable[[], Any]


class Runner(Protocol):
    """See `coroutines.CoroutineRunner`, which is loaded, together with `asyncio`, for the first coroutine."""

    @property
    def is_closed(self) -> bool:
        """Whether a task has closed the event loop."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> object:
        """The coroutine's return value."""


class JobContext:
    """The context of one child; created after its `on_child_start` functions have run."""

    def __init__(self) -> None:
        self._decimal = importlib.import_module("decimal") if "decimal" in sys.modules else None
        self._decimal_context = self._decimal.getcontext().copy() if self._decimal is not None else None
        self._runner: Runner | None = None

    @property
    def is_spent(self) -> bool:
        """Whether a task has closed the child's event loop, to which clients of modules may be bound."""
        return self._runner is not None and self._runner.is_closed

    def call(self, task_call: TaskCall) -> object:
        """The return value of the task function, or of the coroutine that it returns."""
        return contextvars.copy_context().run(self._call_around if HOOKS.around else self._call, task_call)

    def _call_around(self, task_call: TaskCall) -> object:
        """Call the task inside the hooks. A hook receives the task's exception but cannot suppress it."""
        wrong: BaseException | None = None
        with HOOKS.around_this_job():
            try:
                value = self._call(task_call)
            except BaseException as raised:
                wrong = raised
                raise
        if wrong is not None:
            raise wrong
        return value

    def _call(self, task_call: TaskCall) -> object:
        if self._decimal is not None and self._decimal_context is not None:
            self._decimal.setcontext(self._decimal_context.copy())
        value = task_call()
        return self._run_coroutine(value) if inspect.iscoroutine(value) else value

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> object:
        if self._runner is None:
            runner: Runner = importlib.import_module("jobyard.engine.executor.coroutines").CoroutineRunner()
            self._runner = runner
        return self._runner.run(coroutine)
