"""A retry of many jobs that spreads them evenly over a time; the first of its steps fixes that time for all of them.

The cursor of each step carries it to the next: `~BEGIN-SPREAD-JOBS-DONE~` before the store's own cursor, times in milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt

MAX_SPREAD_S = 86_400
PATTERN = r"~[0-9]{1,15}-[0-9]{1,8}-[0-9]{1,12}-[0-9]{1,12}~"
_CURSOR = re.compile(r"~([0-9]{1,15})-([0-9]{1,8})-([0-9]{1,12})-([0-9]{1,12})~(.+)", re.ASCII | re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_GOLDEN = (sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """From `begin` on, for `spread_ms`, `jobs` are due one after the other, of which `done` have their times.

    `jobs` is 0 where their number is not known. Then, and beyond that number, each is placed in the largest gap or near it.
    """

    begin: datetime
    spread_ms: int
    jobs: int
    done: int = 0

    def due_at(self, number: int) -> datetime:
        """When the job of this number is due; numbers go on from `done`."""
        share = number / self.jobs if number < self.jobs else (number * _GOLDEN) % 1.0
        return self.begin + int(share * self.spread_ms) * _MILLISECOND

    def cursor(self, of_store: str | None) -> str | None:
        """The cursor that leads to the next step; None after the last."""
        if of_store is None:
            return None
        return f"~{(self.begin - _EPOCH) // _MILLISECOND}-{self.spread_ms}-{self.jobs}-{self.done}~{of_store}"


def read_cursor(cursor: str | None) -> tuple[Spread | None, str | None]:
    """The spread that a cursor carries, if any, and the store's own cursor."""
    found = _CURSOR.fullmatch(cursor or "")
    if found is None:
        return None, cursor
    begin_ms, spread_ms, jobs, done = map(int, found.groups()[:4])
    begin = _EPOCH + min(begin_ms, 250_000_000_000_000) * _MILLISECOND
    return Spread(begin=begin, spread_ms=min(spread_ms, MAX_SPREAD_S * 1000), jobs=jobs, done=done), found[5]
