"""The supervisor's table: one row for each process that should run, and what happened to it so far.

    STARTING ──first heartbeat─────▶ RUNNING ──drain, restart──▶ STOPPING ──▶ DRAINED, until it is restarted
        ▲  └────────────┬───────────────┘             │
        │           it exited                   restart: no pause
        └─── pause ◀── RESTARTING         0 s after the first death, then growing to 5 s; reset after 10 s of running
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from jobyard.engine.control.snapshot import RosterRow
from jobyard.engine.supervisor.heartbeat import Heartbeat

LONGEST_PAUSE_S = 5.0
SECOND_PAUSE_S = 0.25
LIVED_WELL_S = 10.0
FIRST_SIGN_S = 60.0
NEVER = float("inf")


class ProcessState(StrEnum):
    """The state of a process, as `/stats` shows it."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """What a new process knows of itself: the owner name under which it may hold jobs, and its heartbeat."""

    owner: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process that should run: `main` is its main function, in a fork that keeps only the descriptors `keeps` of the supervisor.

    `runs_role_loop` (`role_loop.live`): it has a heartbeat until its last tick, and its owner name may be in jobs, so its death
    must be proven before they are recovered. `first_sign_s`: how long it may take to its first heartbeat.
    """

    name: str
    role: str
    main: Callable[[ProcessIdentity], int]
    keeps: frozenset[int] = frozenset()
    runs_role_loop: bool = True
    first_sign_s: float = FIRST_SIGN_S


@dataclass(slots=True, kw_only=True)
class Row:
    """A row: a process that should run, and the one that runs now."""

    spec: ProcessSpec
    slot: int
    pid: int | None = None
    generation: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    is_ready: bool = False
    is_asked_to_stop: bool = False
    stays_down: bool = False
    """Whether it was drained on command; only a restart command starts it again."""
    leaves_by: float = NEVER
    """When it is killed unless it has exited, in monotonic seconds."""
    quick_deaths: int = 0
    silent_since: float | None = None
    last_words: str | None = None
    changed_at: float = 0.0
    """When it entered its current state."""
    shown_state: str = ""

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        return max(0, self.generation - 1)

    @property
    def state(self) -> ProcessState:
        """Its state; see the module."""
        if self.pid is None and self.stays_down:
            return ProcessState.DRAINED
        if self.is_asked_to_stop:
            return ProcessState.STOPPING
        if self.pid is None:
            return ProcessState.RESTARTING if self.generation else ProcessState.STARTING
        return ProcessState.RUNNING if self.is_ready else ProcessState.STARTING

    def shown(self, supervisor: int, now: float) -> RosterRow:
        """Its entry in the roster."""
        if self.shown_state != self.state:
            self.shown_state, self.changed_at = self.state, now
        return RosterRow(
            supervisor=supervisor, name=self.spec.name, role=self.spec.role, pid=self.pid, generation=self.generation,
            state=self.state, since=self.changed_at, started_at=self.started_at, restarts=self.restarts,
            last_words=self.last_words, silent_since=self.silent_since,
        )  # fmt: skip

    def died(self, now: float) -> float:
        """It has exited; returns the pause before the next start in seconds, 0 if it was asked to exit."""
        if now - self.started_at >= LIVED_WELL_S or self.is_asked_to_stop:
            self.quick_deaths = 0
        self.quick_deaths += not self.is_asked_to_stop
        pause_s = pause_after(self.quick_deaths)
        self.pid = self.silent_since = None
        self.is_ready = False
        self.leaves_by = NEVER
        self.start_at = now + pause_s
        return pause_s


def pause_after(quick_deaths: int) -> float:
    """0 after the first death, then a quarter of a second, doubling up to five."""
    doubled = min(quick_deaths - 2, 10)
    return 0.0 if quick_deaths < 2 else min(LONGEST_PAUSE_S, SECOND_PAUSE_S * 2**doubled)
