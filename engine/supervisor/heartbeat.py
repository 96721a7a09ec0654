"""Signs of life: one page of memory that the supervisor shares with its children, a slot for each.

A child writes the monotonic time into its slot on every turn of its loop, which costs no system call and holds nothing that
a killed process could keep. While it waits for the store's lock it says so, by the sign: then it is not the one that hangs.
A slot is one aligned double, stored and loaded in one piece: nobody ever reads half of it, or the zeros of `struct.pack_into`.
"""

from __future__ import annotations

import mmap

from jobyard.engine.world import World

SLOT_BYTES = 8


class HeartbeatPage:
    """The page; made before the first fork."""

    def __init__(self, slots: int) -> None:
        self._page = memoryview(mmap.mmap(-1, max(mmap.PAGESIZE, slots * SLOT_BYTES))).cast("d")

    def slot(self, index: int, world: World) -> Heartbeat:
        """A child's own slot."""
        return Heartbeat(self._page, index, world)

    def clear(self, index: int) -> None:
        """A new child is about to be started in this slot."""
        self._page[index] = 0.0

    def last_beat(self, index: int) -> float:
        """Monotonic seconds of the last sign of life; 0 when there was none yet."""
        return abs(self._page[index])

    def is_waiting(self, index: int) -> bool:
        """Whether the child waits for a lock that another process holds."""
        return self._page[index] < 0


class Heartbeat:
    """One child's slot, as the child sees it."""

    def __init__(self, page: memoryview[float], index: int, world: World) -> None:
        self._page = page
        self._index = index
        self._world = world

    def beat(self) -> None:
        """I live."""
        self._page[self._index] = self._world.monotonic()

    def has_begun(self) -> bool:
        """Whether this slot has shown a sign of life since it was cleared; another process may have shown it for us."""
        return bool(self._page[self._index])

    def waiting(self, for_a_lock: bool) -> None:
        """I wait for somebody else (or no longer)."""
        self._page[self._index] = -self._world.monotonic() if for_a_lock else self._world.monotonic()
