"""Kills what executors leave behind when they end: processes of tasks, which this process, their subreaper, adopts.

Not all of its other children are such: task modules may start processes at import or from a thread, and these may leave orphans,
too. Unlike them, a descendant of an executor can gain no privileges (`no_new_privs`), whatever it executes and in whatever session.
Where the template itself is forbidden to, as in a container with that option, the score for the out-of-memory killer tells them
apart, which every executor raises.
"""

from __future__ import annotations

import contextlib
import os
import signal

from jobyard.engine.process_control import has_no_new_privileges, out_of_memory_score
from jobyard.engine.world import World


class Leftovers:
    """Of all executors of a template. Create it after the imports."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of_modules = set(world.children())
        self._is_restricted = has_no_new_privileges(os.getpid())
        self._score = out_of_memory_score(os.getpid())

    def kill(self, living: set[int]) -> bool:
        """Kill leftovers; whether there were any. They may fork meanwhile, and the next call reaps the dead: repeat it.

        `living`: the executors. Never blocks. Raises `OSError` if no descriptor is free to look.
        """
        children = set(self._world.children())
        self._of_modules &= children
        leftovers = [pid for pid in children - living - self._of_modules if self._is_of_an_executor(pid)]
        for pid in leftovers:
            self._world.kill(pid, signal.SIGKILL)
        for pid in leftovers:
            with contextlib.suppress(ChildProcessError):  # a thread of a module has reaped it
                os.waitpid(pid, os.WNOHANG)
        return bool(leftovers)

    def _is_of_an_executor(self, pid: int) -> bool:
        if not self._is_restricted:
            return has_no_new_privileges(pid)
        return out_of_memory_score(pid) > self._score
