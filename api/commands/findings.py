"""What `doctor` finds: how one thing stands, in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from jobyard.engine.errors import JobyardError


class State(StrEnum):
    """How a thing stands, better ones first."""

    FINE = "fine"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do; what is fine has none."""

    check: str
    state: State
    message: str
    remedy: str | None = None


Check = Callable[[], Iterable[Finding]]


def fine(check: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, state=State.FINE, message=message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(check=check, state=State.WARNING, message=message, remedy=remedy)


def broken(check: str, message: str, remedy: str) -> Finding:
    """It does not work, or would not if it were started."""
    return Finding(check=check, state=State.BROKEN, message=message, remedy=remedy)


def worst(findings: Iterable[Finding]) -> State:
    """Of all of them."""
    return max((finding.state for finding in findings), key=list(State).index, default=State.FINE)


def examine(check: str, look: Check, *, remedy: str = "see docs/operating.md") -> list[Finding]:
    """What a look finds; one that fails is a finding, too, and keeps no other from being taken."""
    try:
        return list(look())
    except JobyardError as known:
        return [broken(check, known.message, remedy)]
    except Exception as surprise:
        return [warning(check, f"could not be looked at ({type(surprise).__name__}: {surprise})", "look at it by hand")]
