"""What follows a death: kill and reap what the process left behind, and only then record that it is certainly dead.

The nearest subreaper inherits orphans (`process_control.adopt_orphans`): the executor those of its tasks; the supervisor those of
dead workers and executors, and gunicorn's workers. Nobody waits for them there, and nothing of Jobyard may outlive it: each is
killed with its process group.

A child stays in the list of children until it is reaped, and the kernel reassigns a dead process's children before it reports the
death. So when everything is reaped and `sweep` finds no process, nothing is left of the processes that were reaped.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.logs import Log
from jobyard.engine.world import World


class PendingDeaths:
    """The dead owners of one boot whose death is not proven yet, and the orphans that prevent the proof."""

    def __init__(self, *, record: Callable[[str], None], orphans: Orphans, log: Log) -> None:
        self._record = record
        self._orphans = orphans
        self._log = log
        self._loose: set[int] = set()
        self._waiting: dict[str, set[int] | None] = {}

    @property
    def is_over(self) -> bool:
        """Whether no orphan is left."""
        return not self._loose

    def await_proof(self, owner: str) -> None:
        """This owner was reaped; what it left behind is not known yet."""
        self._waiting[owner] = None

    def go_on(self, living: set[int], *, is_clear_of: Callable[[str], bool] = lambda owner: True) -> list[str]:
        """Kill all children except the known ones; returns the owners whose death was proven and recorded since the last call.

        `is_clear_of`: whether no template has anything left that it forked for this owner; until then nothing is proven.
        """
        before, self._loose = self._loose, self._orphans.sweep(living)
        for owner, left in self._waiting.items():
            not_its_own = before - (left or set())
            self._waiting[owner] = self._loose - not_its_own
        return [owner for owner, left in list(self._waiting.items()) if self._is_proven(owner, left, is_clear_of)]

    def _is_proven(self, owner: str, left: set[int] | None, is_clear_of: Callable[[str], bool]) -> bool:
        return not left and is_clear_of(owner) and self._has_recorded(owner)

    def _has_recorded(self, owner: str) -> bool:
        try:
            self._record(owner)
        except OSError as fault:  # a full disk, for example: the next tick retries
            self._log.error("death_not_recorded", owner=owner, reason=fault.strerror)
            return False
        del self._waiting[owner]
        return True


class Orphans:
    """The orphans that this process inherited."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._session = os.getsid(0)

    def sweep(self, known: set[int]) -> set[int]:
        """Kill all children except the known ones; returns those that are not gone yet."""
        orphans = set(self._world.children()) - known
        for pid in orphans:
            self._end(pid)
        return orphans

    def _end(self, pid: int) -> None:
        """Kill it and its process group; never this process's own group, which living processes share."""
        group = self._world.group_of(pid)
        if group and self._world.session_of(pid) != self._session:
            self._world.kill_group(group, signal.SIGKILL)
        self._world.kill(pid, signal.SIGKILL)
