"""Kills and reaps the orphans of dead processes, and records a death only when none of its orphans is left.

Orphans are reparented to the nearest subreaper (`process_control.adopt_orphans`): processes that a task left to its executor;
executors of a dead worker, descendants of a dead executor, and gunicorn's workers to the supervisor. No process waits for them
there, and nothing may outlive the system, so each is killed with its process group.

A child stays in its parent's list until it is reaped, and the kernel reparents the children of a dead process before it reports the
death. So if everything is reaped and `sweep` finds no orphan, nothing is left of the reaped processes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.logs import Log
from jobyard.engine.world import World


class PendingDeaths:
    """The dead owners of one boot whose death is not yet proven, and the orphans that prevent the proof."""

    def __init__(self, *, record: Callable[[str], None], orphans: Orphans, log: Log) -> None:
        self._record = record
        self._orphans = orphans
        self._log = log
        self._remaining: set[int] = set()
        self._waiting: dict[str, set[int] | None] = {}

    @property
    def has_no_orphans(self) -> bool:
        """Whether the last `sweep` found no orphan."""
        return not self._remaining

    def await_proof(self, owner: str) -> None:
        """The owner was reaped; its orphans are not known yet."""
        self._waiting[owner] = None

    def sweep(self, living: set[int], *, is_clear_of: Callable[[str], bool] = lambda owner: True) -> list[str]:
        """Kill all children except the living; returns the owners whose deaths were proven and recorded since the last call.

        `is_clear_of`: whether no template has an executor left that it forked for this owner; before that nothing is proven.
        """
        before, self._remaining = self._remaining, self._orphans.sweep(living)
        for owner, left in self._waiting.items():
            of_others = before - (left or set())
            self._waiting[owner] = self._remaining - of_others
        return [owner for owner, left in list(self._waiting.items()) if self._is_proven(owner, left, is_clear_of)]

    def _is_proven(self, owner: str, left: set[int] | None, is_clear_of: Callable[[str], bool]) -> bool:
        return not left and is_clear_of(owner) and self._has_recorded(owner)

    def _has_recorded(self, owner: str) -> bool:
        try:
            self._record(owner)
        except OSError as fault:  # the disk is full: retried in the next iteration
            self._log.error("death_not_recorded", owner=owner, reason=fault.strerror)
            return False
        del self._waiting[owner]
        return True


class Orphans:
    """Processes that were reparented to this one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._session = os.getsid(0)

    def sweep(self, known: set[int]) -> set[int]:
        """Kill all children except the known ones; returns those that are not reaped yet."""
        orphans = set(self._world.children()) - known
        for pid in orphans:
            self._kill(pid)
        return orphans

    def _kill(self, pid: int) -> None:
        """Kill it and its process group, but never the group of this session, which living processes share."""
        group = self._world.group_of(pid)
        if group and self._world.session_of(pid) != self._session:
            self._world.kill_group(group, signal.SIGKILL)
        self._world.kill(pid, signal.SIGKILL)
