"""How much a host takes in: where hosts share a database, no more of each priority than it works off in about a second.

So they share evenly without talking to one another: whoever is faster, or has more slots, takes more. Where there is one host only,
nobody else could do what it takes early, and its queue may fill up.
"""

from __future__ import annotations

import math

from jobyard.engine.world import World

AHEAD_S = 1.0
WINDOW_S = 0.25
FORGET = 0.5


class Admission:
    """Measured by what the workers are done with. `least`: enough for every slot to have one job ahead."""

    def __init__(self, world: World, *, least: int, most: int, shared: bool) -> None:
        self._world = world
        self._least = min(least, most)
        self._most = most
        self._shared = shared
        self._window_began_at = world.monotonic()
        self._done = 0
        self._rate = 0.0

    def note(self, done: int) -> None:
        """The workers are done with so many."""
        self._done += done

    def room(self) -> int:
        """How many tickets of one priority there may be now."""
        if not self._shared:
            return self._most
        elapsed_s = self._world.monotonic() - self._window_began_at
        if elapsed_s >= WINDOW_S:
            rate = self._done / elapsed_s
            self._rate = rate if rate > self._rate else self._rate + FORGET * (rate - self._rate)
            self._window_began_at += elapsed_s
            self._done = 0
        return max(self._least, min(self._most, math.ceil(self._rate * AHEAD_S)))
