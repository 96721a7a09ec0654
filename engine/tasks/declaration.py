"""The arguments of `@task`: which values each may have. A wrong one is refused where the task is defined."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MAX_DELAY_S = 315_360_000
PRIORITIES = {"low": 1, "normal": 5, "high": 9}
QUEUE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
ExceptionTypes = type[BaseException] | tuple[type[BaseException], ...]


def check_name(name: object) -> None:
    """Raises `ValueError`."""
    if not isinstance(name, str) or not 0 < len(name) <= 255 or not name.isprintable():
        raise ValueError(f"a task's name must be a printable string of 1 to 255 characters, not {name!r}")


def check_option(task: str, name: str, value: Any) -> None:
    """Raises `ValueError` unless it is None or one of the option's values."""
    fits, words = OPTIONS[name]
    if value is not None and not fits(value):
        raise ValueError(f"{name} of task {task!r} must be {words}, not {value!r}")


def priority_number(value: Any) -> Any:
    """9 for `high` and so on; anything else as it is."""
    return PRIORITIES.get(value, value) if isinstance(value, str) else value


def exception_types(task: str, name: str, value: Any) -> tuple[type[BaseException], ...] | None:
    """`retry_on` or `discard_on`, one type or a tuple of types; raises `TypeError`. None stays None."""
    if value is None:
        return None
    kinds = value if isinstance(value, tuple | list) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{name} of task {task!r} must be an exception type or a tuple of them, but contains {kind!r}")
    return tuple(kinds)


def _whole(at_least: int, at_most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= at_most


def _number(fits: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int | float) and not isinstance(value, bool) and fits(value)


OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_retries": (_whole(0, 100), "an integer from 0 to 100"),
    "timeout_s": (_number(lambda value: 0 < value <= 604800), "a number above 0, at most 604800"),
    "queue": (lambda value: isinstance(value, str) and bool(QUEUE.fullmatch(value)), "1 to 64 of the characters A-Z a-z 0-9 _ . -"),
    "priority": (_whole(0, 9), "an integer from 0 to 9, or low, normal or high"),
    "retry_base_s": (_number(lambda value: 0 <= value <= 86400), "a number from 0 to 86400"),
    "retry_max_s": (_number(lambda value: 0 <= value <= MAX_DELAY_S), f"a number from 0 to {MAX_DELAY_S}"),
    "expires_s": (_number(lambda value: 0 < value <= MAX_DELAY_S), f"a number above 0, at most {MAX_DELAY_S}"),
}
"""By name: what fits, and in words."""
