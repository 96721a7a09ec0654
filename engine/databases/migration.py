"""Copies everything from one store to another: jobs in the order of insertion with what is kept of their attempts, page by page.

A job that is in the target already is left as it is, so a copy that was cut short goes on where it stopped when it is begun
again. Nothing may run on either store meanwhile; what a dead system left held is given back first, because no owner's name
means anything in the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.logs import Log
from jobyard.engine.store.port import Record, Store
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.world import World

PAGE = 1_000
PAGE_BYTES = 8 << 20


class Copyable(Store, Protocol):
    """A store that gives away and takes in whole records."""

    def read_records(self, *, after: str | None, limit: int, max_bytes: int) -> tuple[list[Record], str | None]:
        """The next jobs in the order of insertion, and where the page after them begins (None: there is none).

        At most `limit`, and no more than the first past `max_bytes`.
        """

    def write_records(self, records: Iterable[Record]) -> int:
        """Store those whose job is not there yet; how many that were. Raises `Conflict` when another job has one's key."""


class Everybody:
    """Nobody runs, so all are dead; see `watcher.recovery.Proof`."""

    def proven(self, owners: Iterable[str]) -> list[str]:
        """All of them."""
        return list(owners)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What came of it."""

    jobs: int
    copied: int
    recovered: int


def migrate(
    source: Copyable, target: Copyable, *, settings: Settings, world: World, log: Log, progress: Callable[[int], None]
) -> Migrated:  # fmt: skip
    """Copy, then compare; `progress` is told how many jobs more are done. Raises `CannotStart` when something is missing."""
    recovered = Recovery(settings=settings, world=world, store=source, log=log, deaths=Everybody()).recover()
    jobs = copied = 0
    for page in _pages(source):
        copied += target.write_records(page)
        jobs += len(page)
        progress(len(page))
    _compare(source, target, progress)
    return Migrated(jobs=jobs, copied=copied, recovered=recovered)


def _compare(source: Copyable, target: Copyable, progress: Callable[[int], None]) -> None:
    """Job by job: there, and in the same state."""
    wrong: list[str] = []
    for page in _pages(source):
        found = target.find([job.job_id for job, *_ in page], whole=False)
        wrong += [
            job.job_id
            for (job, *_), there in zip(page, found, strict=True)
            if there is None or (there.status, there.epoch, there.attempt) != (job.status, job.epoch, job.attempt)
        ]
        progress(len(page))
    if wrong:
        shown = ", ".join(wrong[:3])
        raise CannotStart(f"{len(wrong)} jobs are not in the target as they are in the source, such as {shown}")


def _pages(store: Copyable) -> Iterator[list[Record]]:
    after: str | None = None
    while True:
        page, after = store.read_records(after=after, limit=PAGE, max_bytes=PAGE_BYTES)
        if page:
            yield page
        if after is None:
            return
