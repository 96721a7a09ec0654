"""The findings of `doctor`: the state of one thing, a message, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from jobyard.engine.errors import JobyardError


class State(StrEnum):
    """The state of a thing, from best to worst."""

    FINE = "fine"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check. `remedy`: what to do; None when all is fine."""

    check: str
    state: State
    message: str
    remedy: str | None = None


Check = Callable[[], Iterable[Finding]]


def fine(check: str, message: str) -> Finding:
    """There is nothing to do."""
    return Finding(check=check, state=State.FINE, message=message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """It works, but needs attention."""
    return Finding(check=check, state=State.WARNING, message=message, remedy=remedy)


def broken(check: str, message: str, remedy: str) -> Finding:
    """It does not work, or would not if it were started."""
    return Finding(check=check, state=State.BROKEN, message=message, remedy=remedy)


def worst(findings: Iterable[Finding]) -> State:
    """The worst state of all findings."""
    return max((finding.state for finding in findings), key=list(State).index, default=State.FINE)


def examine(check: str, look: Check, *, remedy: str = "see docs/operating.md") -> list[Finding]:
    """Run a check. One that raises is a finding as well, so that the other checks still run."""
    try:
        return list(look())
    except JobyardError as known:
        return [broken(check, known.message, remedy)]
    except Exception as surprise:
        return [warning(check, f"could not be checked ({type(surprise).__name__}: {surprise})", "check it by hand")]
