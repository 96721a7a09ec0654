"""Limits how many jobs a host takes on: if hosts share a database, of each priority no more than it completes in about a second.

Load is thus shared evenly without coordination: a host that is faster or has more slots takes more. On a database with a single
host, no other host could run what it takes early, so its queue may fill up.
"""

from __future__ import annotations

import math

from jobyard.engine.world import World

AHEAD_S = 1.0
WINDOW_S = 0.25
FORGET = 0.5


class Admission:
    """Measures the rate at which workers finish jobs. `least`: enough for every slot to have one job ahead."""

    def __init__(self, world: World, *, least: int, most: int, shared: bool) -> None:
        self._world = world
        self._least = min(least, most)
        self._most = most
        self._shared = shared
        self._window_began_at = world.monotonic()
        self._done = 0
        self._rate = 0.0

    def note(self, done: int) -> None:
        """The workers have finished this many jobs."""
        self._done += done

    def room(self) -> int:
        """The current limit on tickets of one priority."""
        if not self._shared:
            return self._most
        elapsed_s = self._world.monotonic() - self._window_began_at
        if elapsed_s >= WINDOW_S:
            rate = self._done / elapsed_s
            self._rate = rate if rate > self._rate else self._rate + FORGET * (rate - self._rate)
            self._window_began_at += elapsed_s
            self._done = 0
        return max(self._least, min(self._most, math.ceil(self._rate * AHEAD_S)))
