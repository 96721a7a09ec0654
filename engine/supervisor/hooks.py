"""What a supervisor is composed of besides its table: the stages of its drain, and its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step of the drain: the roles to stop, and how long to wait before their processes are killed."""

    roles: frozenset[str]
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The supervisor's callbacks: fork a process, report proven deaths to watchers, announce readiness, report a failed start."""

    fork: Callable[[ProcessSpec, ProcessIdentity], int]
    report_deaths: Callable[[list[str]], None]
    announce: Callable[[], None]
    report_fault: Callable[[str], object] = lambda fault: None
    is_roster_published: Callable[[], bool] = lambda: True
    """Whether control has the latest roster, so that it is complete when readiness is announced."""
    forget: Callable[[str], None] = lambda name: None
    """Unregister a drained component, so that others no longer connect to it."""
