"""The supervisor's table: one row a process that should run, with what happened to it so far.

    STARTING ──first sign of life──▶ RUNNING ──drain, restart──▶ STOPPING ──▶ DRAINED, until somebody restarts it
        ▲  └────────────┬───────────────┘             │
        │            it ended                   restart: no pause
        └─── pause ◀── RESTARTING         0 s after the first death, then growing to 5 s; forgotten after 10 s of life
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
    """How a process stands, as `/stats` shows it."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """What a new process is told about itself: the name under which it may hold jobs, and where it shows that it lives."""

    owner: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What should run: `main` lives a process's whole life, in a fork that keeps only the descriptors `keeps` of ours.

    `runs_role_loop` (`role_loop.live`): it beats until its last turn, and its owner's name may stand in jobs, so its death must be
    proven before somebody recovers them. `first_sign_s`: how long it may take to its first heartbeat.
    """

    name: str
    role: str
    main: Callable[[ProcessIdentity], int]
    keeps: frozenset[int] = frozenset()
    runs_role_loop: bool = True
    first_sign_s: float = FIRST_SIGN_S


@dataclass(slots=True, kw_only=True)
class Row:
    """A post and the process that fills it now."""

    spec: ProcessSpec
    slot: int
    pid: int | None = None
    generation: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    is_ready: bool = False
    is_asked_to_stop: bool = False
    stays_down: bool = False
    """Somebody drained it: nothing starts it but a restart."""
    leaves_by: float = NEVER
    """When it is killed, if it has not left by itself."""
    quick_deaths: int = 0
    silent_since: float | None = None
    last_words: str | None = None
    changed_at: float = 0.0
    """When its state became what it is."""
    shown_state: str = ""

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.generation - 1)

    @property
    def state(self) -> ProcessState:
        """See the drawing."""
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
        """It is gone; the pause before the next one, in seconds: none for whoever was asked to leave."""
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
    """Nothing after the first death, then a quarter of a second, doubling up to five."""
    doubled = min(quick_deaths - 2, 10)
    return 0.0 if quick_deaths < 2 else min(LONGEST_PAUSE_S, SECOND_PAUSE_S * 2**doubled)
