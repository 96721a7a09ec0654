"""What is done for the dead: kill what they left, reap it, and only then record that they are dead for certain.

Orphans come to the nearest subreaper (`process_control.adopt_orphans`): what a task left to its executor; executors of a dead
worker, what a dead executor left, and gunicorn's workers to the supervisor. There nobody waits for them any more, and nothing
of ours may outlive us: each is killed with its process group.

Our own children stay in our list until we reap them, and the kernel hands a dead process's children over before it reports the
death. So when everything is reaped and `sweep` finds nobody, nothing is left of whoever was reaped.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.logs import Log
from jobyard.engine.world import World


class PendingDeaths:
    """The dead of one boot whose death is not yet proven, and the orphans that stand against it."""

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
        """This one was reaped; what it left is not known yet."""
        self._waiting[owner] = None

    def go_on(self, living: set[int], *, is_clear_of: Callable[[str], bool] = lambda owner: True) -> list[str]:
        """Kill all children but the living; the owners whose death is proven and recorded since the last time.

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
        except OSError as fault:  # no room on the disk: the next turn tries again
            self._log.error("death_not_recorded", owner=owner, reason=fault.strerror)
            return False
        del self._waiting[owner]
        return True


class Orphans:
    """Those that came to this process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._session = os.getsid(0)

    def sweep(self, known: set[int]) -> set[int]:
        """Kill all children but the known ones; those that are not gone yet."""
        orphans = set(self._world.children()) - known
        for pid in orphans:
            self._end(pid)
        return orphans

    def _end(self, pid: int) -> None:
        """It and its group; never our own group, which the living share."""
        group = self._world.group_of(pid)
        if group and self._world.session_of(pid) != self._session:
            self._world.kill_group(group, signal.SIGKILL)
        self._world.kill(pid, signal.SIGKILL)
