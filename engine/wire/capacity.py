"""How much a worker can take, in units: a free slot has `SLOT_UNITS`, and a job of a long or unknown task takes all of them.

A job of a short task takes fewer, so that several of them are handed to one executor, whose cost would otherwise be the way there
and back. `free` units are in slots that have nothing or little to do. `ahead` units are a reserve for short jobs only: they wait at
the worker until a slot is free, so that no executor waits for the next claim.
"""

from __future__ import annotations

import msgspec

SLOT_UNITS = 32


class Offer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a worker can take, in units."""

    owner: str
    free: int
    ahead: int = 0
