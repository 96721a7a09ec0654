"""A world with fake processes: a forked child lives until a test ends it or the code under test kills it."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support.world import FakeWorld

FIRST_PID = 100


class FakeProcesses(FakeWorld):
    """Children by pid, with the attributes that `ps` would show."""

    def __init__(self) -> None:
        super().__init__()
        self.living: set[int] = set()
        self.states: dict[int, str] = {}
        self.sessions: dict[int, int] = {}
        self.signals: list[tuple[int, int]] = []
        self.killed_groups: list[int] = []
        self.obey_sigterm = True
        self.undying: set[int] = set()
        self.children_fault: OSError | None = None
        self._ended: list[tuple[int, int]] = []
        self._next_pid = FIRST_PID

    def fork(self, main: Callable[[], int]) -> int:
        return self.add()

    def add(self, *, session: int = 0) -> int:
        """Add a child that was not forked here, such as an orphan; by default in our session."""
        pid = self._next_pid
        self._next_pid += 1
        self.living.add(pid)
        self.states[pid] = "S"
        self.sessions[pid] = session
        return pid

    def end(self, pid: int, status: int = -signal.SIGKILL) -> None:
        """End the child; `reap` will report it."""
        if pid in self.living:
            self.living.discard(pid)
            self.states[pid] = "Z"
            self._ended.append((pid, status))

    def kill(self, pid: int, signal_number: int) -> bool:
        self.signals.append((pid, signal_number))
        if signal_number == signal.SIGKILL and pid not in self.undying:
            self.end(pid)
        elif signal_number == signal.SIGTERM and self.obey_sigterm:
            self.end(pid, 0)
        return pid in self.living

    def kill_group(self, group: int, signal_number: int) -> bool:
        self.killed_groups.append(group)
        return True

    def reap(self) -> list[tuple[int, int]]:
        ended, self._ended = self._ended, []
        for pid, _ in ended:
            del self.states[pid]
        return ended

    def has_children(self) -> bool:
        return bool(self.states)

    def children(self) -> list[int]:
        if self.children_fault is not None:
            raise self.children_fault
        return sorted(self.states)

    def state_of(self, pid: int) -> str:
        return self.states.get(pid, "")

    def session_of(self, pid: int) -> int:
        return self.sessions.get(pid, 0)

    def group_of(self, pid: int) -> int:
        return self.sessions.get(pid, 0)
