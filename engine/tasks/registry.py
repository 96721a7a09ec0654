"""The registry of tasks in this process: `@task` registers a function under a name.

A task function can still be called and tested directly; see `function.py` for what it adds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, ParamSpec, TypeVar

from jobyard.engine.jobs.template import Template
from jobyard.engine.jobs.unique_field import read_unique
from jobyard.engine.tasks.function import TaskFunction

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options given to `@task`; None means the setting's default."""

    max_retries: int | None = None
    timeout_s: float | None = None
    unique: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A registered function."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions


class Registry:
    """Tasks by name."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}

    def add(self, task: Task) -> None:
        """Register it; raises `ValueError` if another function has the name."""
        known = self._tasks.get(task.name)
        if known is not None and known.function is not task.function:
            raise ValueError(f"task {task.name!r} is defined twice: in {_place(known)} and in {_place(task)}")
        self.replace(task)

    def replace(self, task: Task) -> None:
        """Register it, replacing any task of that name."""
        self._tasks[task.name] = task

    def get(self, name: str) -> Task | None:
        """The task of this name, or None."""
        return self._tasks.get(name)

    def has_tasks_of(self, module: str) -> bool:
        """Whether a function of this module, or of one of its submodules, is a task."""
        modules = (str(getattr(task.function, "__module__", "")) for task in self._tasks.values())
        return any(name == module or name.startswith(f"{module}.") for name in modules)

    def has_coroutines(self) -> bool:
        """Whether some task is an `async` function."""
        return any(inspect.iscoroutinefunction(inspect.unwrap(task.function)) for task in self._tasks.values())

    def options(self) -> Mapping[str, TaskOptions]:
        """The options of every task, by name."""
        return {name: task.options for name, task in self._tasks.items()}


DEFINED = Registry()
"""The tasks registered by `@task` in this process."""


def task(
    name: str, *, max_retries: int | None = None, timeout_s: float | None = None,
    unique: bool | str | Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]:  # fmt: skip
    """Register a function, plain or `async`, under a name. It receives the payload, and its return value (JSON) is the result."""
    if not isinstance(name, str) or not 0 < len(name) <= 255 or not name.isprintable():
        raise ValueError(f"a task's name must be a printable string of 1 to 255 characters, not {name!r}")
    if max_retries is not None and not (_is_number(max_retries, int) and 0 <= max_retries <= 100):
        raise ValueError(f"max_retries of task {name!r} must be an integer from 0 to 100, not {max_retries!r}")
    if timeout_s is not None and not (_is_number(timeout_s, int | float) and 0 < timeout_s <= 604800):
        raise ValueError(f"timeout_s of task {name!r} must be a number above 0, at most 604800, not {timeout_s!r}")
    options = TaskOptions(max_retries=max_retries, timeout_s=timeout_s, unique=_unique(name, unique))

    def note(function: Callable[P, R]) -> TaskFunction[P, R]:
        DEFINED.add(Task(name=name, function=function, options=options))
        return TaskFunction(function, name=name, timeout_s=timeout_s)

    return note


def _unique(name: str, unique: object) -> dict[str, Any] | None:
    try:
        asked = read_unique(dict(unique) if isinstance(unique, Mapping) else unique)
        if asked is not None and asked.key is not None:
            Template(asked.key)
    except ValueError as wrong:
        raise ValueError(f"unique of task {name!r} must be {wrong}, not {unique!r}") from None
    return None if asked is None else asked._asdict()


def _is_number(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _place(task: Task) -> str:
    function = inspect.unwrap(task.function)
    code = getattr(function, "__code__", None)
    line = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}{line}"
