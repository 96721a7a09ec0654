"""Signs of life: one page of memory that the supervisor shares with its children, a slot for each.

A child writes the monotonic time into its slot on every turn of its loop, which costs no system call and holds nothing that
a killed process could keep. While it waits for the store's lock it says so: then it is not the one that hangs.
"""

from __future__ import annotations

import mmap
import struct

from engine.world import World

_SLOT = struct.Struct("=dB7x")


class Pulse:
    """The page; made before the first fork."""

    def __init__(self, slots: int) -> None:
        self._page = mmap.mmap(-1, max(mmap.PAGESIZE, slots * _SLOT.size))

    def slot(self, index: int, world: World) -> Heartbeat:
        """A child's own slot."""
        return Heartbeat(self._page, index, world)

    def clear(self, index: int) -> None:
        """A new child is about to be started in this slot."""
        _SLOT.pack_into(self._page, index * _SLOT.size, 0.0, False)

    def last_beat(self, index: int) -> float:
        """Monotonic seconds of the last sign of life; 0 when there was none yet."""
        return float(_SLOT.unpack_from(self._page, index * _SLOT.size)[0])

    def is_waiting(self, index: int) -> bool:
        """Whether the child waits for a lock that another process holds."""
        return bool(_SLOT.unpack_from(self._page, index * _SLOT.size)[1])


class Heartbeat:
    """One child's slot, as the child sees it."""

    def __init__(self, page: mmap.mmap, index: int, world: World) -> None:
        self._page = page
        self._at = index * _SLOT.size
        self._world = world

    def beat(self) -> None:
        """I live."""
        _SLOT.pack_into(self._page, self._at, self._world.monotonic(), False)

    def has_begun(self) -> bool:
        """Whether this slot has shown a sign of life since it was cleared; another process may have shown it for us."""
        return bool(_SLOT.unpack_from(self._page, self._at)[0])

    def waiting(self, for_a_lock: bool) -> None:
        """I wait for somebody else (or no longer)."""
        _SLOT.pack_into(self._page, self._at, self._world.monotonic(), for_a_lock)
