"""Heartbeats: a page of memory that the supervisor shares with its children, with one slot for each.

A child writes the monotonic time into its slot in every iteration of its loop. This takes no system call, and no lock that a killed
process could leave held. While a child waits for a lock of another process, its value is negative: then it is not the one that
hangs. A slot is one aligned double, which is stored and loaded atomically; `struct.pack_into` would write zeros first.
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
        """The slot of one child."""
        return Heartbeat(self._page, index, world)

    def clear(self, index: int) -> None:
        """Reset the slot for a new child."""
        self._page[index] = 0.0

    def last_beat(self, index: int) -> float:
        """Monotonic time of the last heartbeat in seconds; 0 if there was none yet."""
        return abs(self._page[index])

    def is_waiting(self, index: int) -> bool:
        """Whether the child is waiting for a lock that another process holds."""
        return self._page[index] < 0


class Heartbeat:
    """The child's side of its slot."""

    def __init__(self, page: memoryview[float], index: int, world: World) -> None:
        self._page = page
        self._index = index
        self._world = world

    def beat(self) -> None:
        """Record a heartbeat."""
        self._page[self._index] = self._world.monotonic()

    def has_begun(self) -> bool:
        """Whether there was a heartbeat since the slot was cleared; another process may have recorded it."""
        return bool(self._page[self._index])

    def waiting(self, for_a_lock: bool) -> None:
        """Record a heartbeat, and whether this process is about to wait for a lock of another one."""
        self._page[self._index] = -self._world.monotonic() if for_a_lock else self._world.monotonic()
