"""The fields of requests: what each is, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `read` returns the value or raises `ValueError` with what would be valid."""

    name: str
    schema: Mapping[str, object]
    meaning: str
    read: Callable[[object], object]


def as_integer(value: object) -> object:
    """An integer that is written `14.0`, which is the same number in JSON, as `14`; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole(lowest: int, highest: int) -> Callable[[object], int]:
    """Reads an integer within these bounds."""

    def read(value: object) -> int:
        value = as_integer(value)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"an integer from {lowest} to {highest}")
        return value

    return read


def number(words: str, fits: Callable[[float], bool]) -> Callable[[object], float]:
    """Reads a number that fits, as it was given; `words` say what would."""

    def read(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not fits(value):
            raise ValueError(words)
        return value

    return read


def floating(words: str, fits: Callable[[float], bool]) -> Callable[[object], float]:
    """Reads a number that fits as a float."""
    read = number(words, fits)
    return lambda value: float(read(value))


def one_of(words: Collection[str]) -> Callable[[object], str]:
    """Reads one of these words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return read
