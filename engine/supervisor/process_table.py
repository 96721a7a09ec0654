"""The supervisor's table: one row for each process that should run, with its history.

    STARTING ──first heartbeat──▶ RUNNING ──drain, restart──▶ STOPPING ──▶ DRAINED, until it is restarted
        ▲  └────────────┬────────────┘             │
        │            it ended                restart: no pause
        └─── pause ◀── RESTARTING      0 s after the first death, then growing to 5 s; reset after 10 s of running
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from jobyard.engine.control.snapshot import RosterRow
from jobyard.engine.supervisor.heartbeat import Heartbeat

LONGEST_PAUSE_S = 5.0
SECOND_PAUSE_S = 0.25
STABLE_AFTER_S = 10.0
STARTUP_TIMEOUT_S = 60.0
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
    """The identity of a new process: the owner name under which it may hold jobs, and its heartbeat slot."""

    owner: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A process that should run. `main` is its main function, called in a fork that keeps only the descriptors in `keeps`.

    `runs_role_loop` (`role_loop.run_role`): it sends heartbeats until it exits, and jobs may name it as their owner, so its death
    must be proven before they are recovered. `startup_timeout_s`: the longest time until its first heartbeat.
    """

    name: str
    role: str
    main: Callable[[ProcessIdentity], int]
    keeps: frozenset[int] = frozenset()
    runs_role_loop: bool = True
    startup_timeout_s: float = STARTUP_TIMEOUT_S


@dataclass(slots=True, kw_only=True)
class Row:
    """A row of the table, and the current process."""

    spec: ProcessSpec
    slot: int
    pid: int | None = None
    generation: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    is_ready: bool = False
    is_asked_to_stop: bool = False
    stays_down: bool = False
    """It was drained, and only a restart command starts it again."""
    kill_at: float = NEVER
    """When it is killed if it has not exited."""
    quick_deaths: int = 0
    silent_since: float | None = None
    is_hung: bool = False
    """It was found hung, and is being killed."""
    last_words: str | None = None
    changed_at: float = 0.0
    """When its state last changed."""
    last_state: str = ""

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        return max(0, self.generation - 1)

    @property
    def state(self) -> ProcessState:
        """See the diagram in the module's docstring."""
        if self.pid is None and self.stays_down:
            return ProcessState.DRAINED
        if self.is_asked_to_stop:
            return ProcessState.STOPPING
        if self.pid is None:
            return ProcessState.RESTARTING if self.generation else ProcessState.STARTING
        return ProcessState.RUNNING if self.is_ready else ProcessState.STARTING

    def roster_row(self, supervisor: int, now: float) -> RosterRow:
        """Its entry in the roster."""
        if self.last_state != self.state:
            self.last_state, self.changed_at = self.state, now
        return RosterRow(
            supervisor=supervisor, name=self.spec.name, role=self.spec.role, pid=self.pid, generation=self.generation,
            state=self.state, since=self.changed_at, started_at=self.started_at, restarts=self.restarts,
            last_words=self.last_words, silent_since=self.silent_since,
        )  # fmt: skip

    def record_death(self, now: float) -> float:
        """Record that the process ended; returns the pause before its restart in seconds, 0 if it was asked to stop."""
        if now - self.started_at >= STABLE_AFTER_S or self.is_asked_to_stop:
            self.quick_deaths = 0
        self.quick_deaths += not self.is_asked_to_stop
        pause_s = pause_after(self.quick_deaths)
        self.pid = self.silent_since = None
        self.is_ready = False
        self.kill_at = NEVER
        self.start_at = now + pause_s
        return pause_s


def pause_after(quick_deaths: int) -> float:
    """The pause in seconds: 0 after the first death, then a quarter of a second, doubling up to five seconds."""
    doubled = min(quick_deaths - 2, 10)
    return 0.0 if quick_deaths < 2 else min(LONGEST_PAUSE_S, SECOND_PAUSE_S * 2**doubled)
