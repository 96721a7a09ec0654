"""Heartbeats: one page of memory that the supervisor shares with its children, a slot for each.

A child writes the monotonic time into its slot on every iteration of its loop, which takes no system call and no lock that a killed
process could keep. While it waits for the store's lock the number is negative: then it is not the process that hangs.
A slot is one aligned double, stored and loaded atomically: no reader sees half of it, or the zeros of `struct.pack_into`.
"""

from __future__ import annotations

import mmap

from jobyard.engine.world import World

SLOT_BYTES = 8


class HeartbeatPage:
    """The page; created before the first fork."""

    def __init__(self, slots: int) -> None:
        self._page = memoryview(mmap.mmap(-1, max(mmap.PAGESIZE, slots * SLOT_BYTES))).cast("d")

    def slot(self, index: int, world: World) -> Heartbeat:
        """The slot of one child, for that child."""
        return Heartbeat(self._page, index, world)

    def clear(self, index: int) -> None:
        """Clear the slot before a new child is started."""
        self._page[index] = 0.0

    def last_beat(self, index: int) -> float:
        """Monotonic seconds of the last heartbeat; 0 if there was none yet."""
        return abs(self._page[index])

    def is_waiting(self, index: int) -> bool:
        """Whether the child waits for a lock that another process holds."""
        return self._page[index] < 0


class Heartbeat:
    """One child's slot, as that child uses it."""

    def __init__(self, page: memoryview[float], index: int, world: World) -> None:
        self._page = page
        self._index = index
        self._world = world

    def beat(self) -> None:
        """Write a heartbeat."""
        self._page[self._index] = self._world.monotonic()

    def has_begun(self) -> bool:
        """Whether there was a heartbeat since the slot was cleared; another process may have written it."""
        return bool(self._page[self._index])

    def waiting(self, for_a_lock: bool) -> None:
        """Write whether this process waits for a lock that another one holds."""
        self._page[self._index] = -self._world.monotonic() if for_a_lock else self._world.monotonic()
