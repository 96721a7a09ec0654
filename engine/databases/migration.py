"""Copies everything from one store to another: jobs page by page in insertion order, with their attempts' data, and schedules.

Jobs that the target already holds are left unchanged, so an interrupted copy resumes when it is started again. Nothing may run
on either store meanwhile. Jobs that a dead system still held are recovered first, because owners' names mean nothing in the
target.
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
from jobyard.engine.words import counted
from jobyard.engine.world import World

PAGE = 1_000
PAGE_BYTES = 8 << 20


class Copyable(Store, Protocol):
    """A store whose whole records can be read and written."""

    def read_records(self, *, after: str | None, limit: int, max_bytes: int) -> tuple[list[Record], str | None]:
        """The next jobs in insertion order, and the position after them (None at the end).

        Returns at most `limit` jobs, and stops after the first that exceeds `max_bytes`.
        """

    def write_records(self, records: Iterable[Record]) -> int:
        """Store the records whose job is missing; returns how many. Raises `Conflict` if another job has the idempotency key."""


class Everybody:
    """Proves every owner dead, since nothing runs during a migration; see `watcher.recovery.Proof`."""

    def proven(self, owners: Iterable[str]) -> list[str]:
        """All of the owners."""
        return list(owners)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """The result of a migration."""

    jobs: int
    copied: int
    recovered: int


def migrate(
    source: Copyable, target: Copyable, *, settings: Settings, world: World, log: Log, progress: Callable[[int], None]
) -> Migrated:  # fmt: skip
    """Copy, then compare; `progress` receives the number of further jobs done. Raises `CannotStart` if the copies differ."""
    recovered = Recovery(settings=settings, world=world, store=source, log=log, deaths=Everybody()).recover()
    jobs = copied = 0
    for page in _pages(source):
        copied += target.write_records(page)
        jobs += len(page)
        progress(len(page))
    schedules = source.schedules.all()
    for schedule in schedules:
        target.schedules.save(schedule, was=None)
    _compare(source, target, progress)
    return Migrated(jobs=jobs, copied=copied, recovered=recovered)


def _compare_schedules(source: Copyable, target: Copyable) -> None:
    missing = [one.name for one in source.schedules.all() if target.schedules.find(one.name) is None]
    if missing:
        raise CannotStart(f"{counted(len(missing), 'schedule is', 'schedules are')} missing in the target, such as {missing[0]}")


def _compare(source: Copyable, target: Copyable, progress: Callable[[int], None]) -> None:
    """Check that the target holds each schedule, and each job in the same state."""
    _compare_schedules(source, target)
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
        differ = counted(len(wrong), "job in the target is missing or differs", "jobs in the target are missing or differ")
        raise CannotStart(f"{differ} from the source, such as {shown}")


def _pages(store: Copyable) -> Iterator[list[Record]]:
    after: str | None = None
    while True:
        page, after = store.read_records(after=after, limit=PAGE, max_bytes=PAGE_BYTES)
        if page:
            yield page
        if after is None:
            return
