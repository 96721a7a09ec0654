"""The guarantees of every store about limits; see `store.port` for those about jobs, and `limits.rules` for the rules.

A job under a limit has its slots from the commit of its begin to that of the change by which it stops running; on MongoDB they are
taken before and freed after, so never too few are counted, and a death in between leaves slots that `mend` finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from jobyard.engine.limits.limit import Limit, Usage
from jobyard.engine.limits.rules import PartState

MOST_PARTITIONS = 20
WAITING_LOOK = 10_000
"""So many waiting jobs of a limit are counted at most."""


class PartHolders(NamedTuple):
    """A part and the jobs that have a slot in it, at most `MOST_PARTITIONS` of them."""

    state: PartState
    job_ids: tuple[str, ...]


class LimitStore(Protocol):
    """The source of truth for limits. Any method may raise `StoreUnavailable`."""

    effective_within_s: int
    """How soon after its commit a pause holds for all claims: 0 if at once."""

    def all(self) -> list[Limit]:
        """Every limit, by name."""

    def find(self, name: str) -> Limit | None:
        """The limit of this name."""

    def save(self, limit: Limit, *, was: int | None) -> bool:
        """Store it if the stored one still has the version `was` (None: if there is none); the new one's version must be higher.

        Jobs that wait for it are looked at again. Jobs that run already count.
        """

    def delete(self, name: str) -> bool:
        """Remove it; what waited for it may begin. False: there is none."""

    def hold_parts(self, parts: Sequence[str], until: datetime) -> None:
        """No job of these parts begins before this time; the longer of two holds stays."""

    def usage(self, limit: Limit, *, now: datetime, is_whole: bool) -> Usage:
        """How much of it is in use; `is_whole`: with its fullest partitions."""

    def parts(self, parts: Sequence[str]) -> Mapping[str, PartHolders]:
        """What these parts have in use, and who has it."""

    def relane(self, *, now: datetime, limit: int) -> bool:
        """Give pending jobs their lanes after a limit that applies by itself was made or deleted, so many at a time.

        Whether there are more. Cheap when there is nothing to do.
        """

    def tidy(self, *, now: datetime, limit: int) -> None:
        """Wake lanes that wait for what is free, and drop numbers that mean nothing any more; so many at a time."""
