"""The registry of tasks in this process: `@task` registers a function under a name.

A task function can still be called and tested directly; see `function.py` for what it adds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, ParamSpec, TypeVar

from jobyard.engine.jobs.limit_field import read_templates
from jobyard.engine.jobs.tags import read_tags
from jobyard.engine.jobs.template import Template
from jobyard.engine.jobs.unique_field import read_unique
from jobyard.engine.tasks.context import JobTimeout, Retry, Unrecoverable
from jobyard.engine.tasks.declaration import ExceptionTypes, check_name, check_option, exception_types, priority_number
from jobyard.engine.tasks.declared_schedules import TIMING_OPTIONS, declare_for_task
from jobyard.engine.tasks.function import TaskFunction
from jobyard.engine.tasks.parameters import Parameters, WholePayload, read_parameters

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What `@task` said of a task's jobs; None: the setting's default. What schedulers and workers know of a task.

    `retries_timeouts`: whether an attempt that timed out is tried again. `parameters`: a JSON Schema, see `parameters.py`.
    `unique`: the fields of `unique_field.Asked`. `limit`: see `limit_field.read_templates`.
    """

    max_retries: int | None = None
    timeout_s: float | None = None
    queue: str | None = None
    priority: int | None = None
    retry_base_s: float | None = None
    retry_max_s: float | None = None
    expires_s: float | None = None
    retries_timeouts: bool = True
    unique: dict[str, Any] | None = None
    limit: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """Which exceptions of a task are worth another attempt. `retry_on`: only these, None any; `discard_on`: none of these."""

    retry_on: tuple[type[BaseException], ...] | None = None
    discard_on: tuple[type[BaseException], ...] = ()

    def is_final(self, wrong: BaseException) -> bool:
        """Whether the job fails at once. `Retry` asks for another attempt itself."""
        if isinstance(wrong, (*self.discard_on, Unrecoverable)):
            return True
        return self.retry_on is not None and not isinstance(wrong, (*self.retry_on, Retry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A registered function."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    parameters: Parameters = WholePayload()
    retry_rules: RetryRules = RetryRules()

    def bind(self, payload: object) -> Callable[[], Any]:
        """The call of its function for this payload; raises `WrongArguments`."""
        return self.parameters.bind(self.function, payload)


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

    def check(self) -> None:
        """Read the annotations of all tasks; raises `TypeError` for those that no payload could be converted to."""
        for task in self._tasks.values():
            task.parameters.check()

    def options(self) -> Mapping[str, TaskOptions]:
        """The options of every task, by name."""
        return {name: task.options for name, task in self._tasks.items()}

    def described(self) -> Mapping[str, TaskOptions]:
        """The same with the parameters, for the catalog; after `check`."""
        return {name: replace(task.options, parameters=task.parameters.schema()) for name, task in self._tasks.items()}


DEFINED = Registry()
"""The tasks registered by `@task` in this process."""


def task(
    name: str, *, max_retries: int | None = None, timeout_s: float | None = None, queue: str | None = None,
    priority: int | Literal["low", "normal", "high"] | None = None, retry_base_s: float | None = None,
    retry_max_s: float | None = None, retry_on: ExceptionTypes | None = None, discard_on: ExceptionTypes | None = None,
    expires_s: float | None = None, unique: bool | str | Mapping[str, Any] | None = None,
    limit: str | Sequence[str] | None = None, tags: Iterable[str] | None = None, payload: Any = None,
    cron: str | None = None, every_s: float | None = None, time_zone: str | None = None, overlap: str | None = None,
    catch_up: str | None = None, catch_up_max: int | None = None, jitter_s: float | None = None,
    starts_at: datetime | str | None = None, ends_at: datetime | str | None = None, dst_gap: str | None = None,
    dst_fold: str | None = None,
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]:  # fmt: skip
    """Register a function, plain or `async`, under a name. What it returns becomes the job's result.

    A function with one positional parameter gets the payload whole; one with keyword-only parameters gets the payload's fields,
    converted by their annotations; one without parameters gets nothing. The arguments are defaults for the task's jobs.
    A failed attempt is tried again after n² × `retry_base_s` seconds, `retry_max_s` at most, if its exception is one of
    `retry_on` (by default any) and none of `discard_on`. A job that has not begun `expires_s` seconds after its time is cancelled.
    `unique`, `limit`: as for a job; they may name fields of the payload: `{"key": "{doc}"}`, `"customer/{customer_id}"`. `tags` are
    added to those of a job. With `cron` or `every_s` a schedule of the task's name makes jobs with this `payload`; the other
    arguments are those of `schedule`.
    """
    timing = {option: value for option, value in locals().items() if option in TIMING_OPTIONS}
    check_name(name)
    said = _checked(
        name, max_retries=max_retries, timeout_s=timeout_s, queue=queue, priority=priority_number(priority),
        retry_base_s=retry_base_s, retry_max_s=retry_max_s, expires_s=expires_s,
    )  # fmt: skip
    rules = _rules(name, retry_on, discard_on)
    options = TaskOptions(
        **said, unique=_unique(name, unique), limit=_limit(name, limit), tags=_tags(name, tags),
        retries_timeouts=not rules.is_final(JobTimeout()),
    )  # fmt: skip

    def register(function: Callable[P, R]) -> TaskFunction[P, R]:
        parameters = read_parameters(function, task=name)
        DEFINED.add(Task(name=name, function=function, options=options, parameters=parameters, retry_rules=rules))
        declare_for_task(name, payload, timing)
        return TaskFunction(function, name=name, parameters=parameters, timeout_s=timeout_s)

    return register


def _checked(name: str, **options: Any) -> dict[str, Any]:
    for option, value in options.items():
        check_option(name, option, value)
    return options


def _rules(name: str, retry_on: ExceptionTypes | None, discard_on: ExceptionTypes | None) -> RetryRules:
    return RetryRules(
        retry_on=exception_types(name, "retry_on", retry_on), discard_on=exception_types(name, "discard_on", discard_on) or ()
    )  # fmt: skip


def _unique(name: str, unique: object) -> dict[str, Any] | None:
    try:
        asked = read_unique(dict(unique) if isinstance(unique, Mapping) else unique)
        if asked is not None and asked.key is not None:
            Template(asked.key)
    except ValueError as wrong:
        raise ValueError(f"unique of task {name!r} must be {wrong}, not {unique!r}") from None
    return None if asked is None else asked._asdict()


def _limit(name: str, limit: object) -> tuple[str, ...] | None:
    try:
        return read_templates(limit)
    except ValueError as wrong:
        raise ValueError(f"limit of task {name!r} must be {wrong}, not {limit!r}") from None


def _tags(name: str, tags: Iterable[str] | None) -> tuple[str, ...]:
    try:
        return () if tags is None else read_tags(tags if isinstance(tags, str) else list(tags))
    except ValueError as wrong:
        raise ValueError(f"tags of task {name!r} must be {wrong}, not {tags!r}") from None


def _place(task: Task) -> str:
    function = inspect.unwrap(task.function)
    code = getattr(function, "__code__", None)
    line = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}{line}"
