"""The supervisor's table: one row a process that should run, with what happened to it so far.

    STARTING ──first sign of life──▶ RUNNING ──drain──▶ STOPPING ──▶ (no process)
        ▲  └────────────┬───────────────┘
        │            it ended
        └─── pause ◀── RESTARTING         0 s after the first death, then growing to 5 s; forgotten after 10 s of life
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from engine.processes.pulse import Heartbeat

LONGEST_PAUSE_S = 5.0
SECOND_PAUSE_S = 0.25
LIVED_WELL_S = 10.0
FIRST_SIGN_S = 60.0


class Standing(StrEnum):
    """How a process stands, as `/stats` shows it."""

    RUNNING = "running"
    STARTING = "starting"
    RESTARTING = "restarting"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a new process is told about itself: the name under which it may hold jobs, and where it shows that it lives."""

    owner: str
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What should run: `main` lives a process's whole life, in a fork that keeps only the descriptors `keeps` of ours.

    `lives_by_ticks` (`child.live`): it beats until its last turn, and its owner's name may stand in jobs, so that its death must
    be proven before somebody takes them back. `first_sign_s`: how long it may take to show its first sign of life.
    """

    name: str
    role: str
    main: Callable[[Birth], int]
    keeps: frozenset[int] = frozenset()
    lives_by_ticks: bool = True
    first_sign_s: float = FIRST_SIGN_S


@dataclass(slots=True, kw_only=True)
class Row:
    """A post and the process that fills it now."""

    post: Post
    slot: int
    pid: int | None = None
    generation: int = 0
    started_at: float = 0.0
    start_at: float = 0.0
    is_ready: bool = False
    is_asked_to_stop: bool = False
    quick_deaths: int = 0

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.generation - 1)

    @property
    def standing(self) -> Standing:
        """See the drawing."""
        if self.is_asked_to_stop:
            return Standing.STOPPING
        if self.pid is None:
            return Standing.RESTARTING if self.generation else Standing.STARTING
        return Standing.RUNNING if self.is_ready else Standing.STARTING

    def shown(self, now: float) -> dict[str, object]:
        """Its entry in `/stats`."""
        return {
            "name": self.post.name, "role": self.post.role, "pid": self.pid, "status": self.standing, "restarts": self.restarts,
            "uptime_s": 0.0 if self.pid is None else round(now - self.started_at, 3),
        }  # fmt: skip

    def died(self, now: float) -> float:
        """It is gone; the pause before the next one, in seconds."""
        if now - self.started_at >= LIVED_WELL_S:
            self.quick_deaths = 0
        self.quick_deaths += 1
        pause_s = pause_after(self.quick_deaths)
        self.pid = None
        self.is_ready = False
        self.start_at = now + pause_s
        return pause_s


def pause_after(quick_deaths: int) -> float:
    """Nothing after the first death, then a quarter of a second, doubling up to five."""
    doubled = min(quick_deaths - 2, 10)
    return 0.0 if quick_deaths < 2 else min(LONGEST_PAUSE_S, SECOND_PAUSE_S * 2**doubled)
