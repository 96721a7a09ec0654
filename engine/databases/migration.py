"""Copies everything from one store to another: jobs page by page in insertion order, with their attempts' data, remembered keys,
schedules and limits.

Jobs that the target already holds are left unchanged, so an interrupted copy resumes when it is started again. Nothing may run
on either store meanwhile. Jobs that a dead system still held are recovered first, because owners' names mean nothing in the
target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.logs import Log
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.port import Record, RememberedKey, Store
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.words import counted
from jobyard.engine.world import World

PAGE = 1_000
PAGE_BYTES = 8 << 20


class RememberedKeys(Protocol):
    """The idempotency keys of requests that were answered with another job, by its unique key."""

    def read(self, *, after: str, limit: int) -> list[RememberedKey]:
        """The next keys, in a fixed order."""

    def write(self, keys: Sequence[RememberedKey]) -> None:
        """Remember these; a key that is known already stays as it is."""

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that are not remembered."""


class Copyable(Store, Protocol):
    """A store whose whole records can be read and written."""

    @property
    def remembered_keys(self) -> RememberedKeys:
        """See there."""

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
    for limit in source.limits.all():  # first, so that each job gets its lane as it is stored
        target.limits.save(limit, was=None)
    while target.limits.relane(now=world.now(), limit=PAGE):
        pass
    jobs = copied = 0
    for page in _pages(source):
        copied += target.write_records(page)
        jobs += len(page)
        progress(len(page))
    for keys in _remembered(source):
        target.remembered_keys.write(keys)
    for schedule in source.schedules.all():
        target.schedules.save(schedule, was=None)
    _copy_rows(source.http_tasks, target.http_tasks)
    _copy_rows(source.hooks, target.hooks)
    _compare(source, target, progress)
    return Migrated(jobs=jobs, copied=copied, recovered=recovered)


def _compare_keys(source: Copyable, target: Copyable) -> None:
    missing = [key for keys in _remembered(source) for key in target.remembered_keys.missing([one.key for one in keys])]
    if missing:
        raise CannotStart(f"{len(missing)} idempotency keys are missing in the target, such as {missing[0]}")


def _copy_rows(source: NamedRows, target: NamedRows) -> None:
    for row in source.all():
        target.save(row, was=None)


def _compare_schedules(source: Copyable, target: Copyable) -> None:
    missing = [one.name for one in source.schedules.all() if target.schedules.find(one.name) is None]
    if missing:
        raise CannotStart(f"{counted(len(missing), 'schedule is', 'schedules are')} missing in the target, such as {missing[0]}")
    missing = [one.name for one in source.limits.all() if target.limits.find(one.name) is None]
    if missing:
        raise CannotStart(f"{counted(len(missing), 'limit is', 'limits are')} missing in the target, such as {missing[0]}")


def _compare(source: Copyable, target: Copyable, progress: Callable[[int], None]) -> None:
    """Check that the target holds each schedule, limit and key, and each job in the same state."""
    _compare_keys(source, target)
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


def _remembered(store: Copyable) -> Iterator[list[RememberedKey]]:
    after = ""
    while page := store.remembered_keys.read(after=after, limit=PAGE):
        yield page
        after = page[-1].key


def _pages(store: Copyable) -> Iterator[list[Record]]:
    after: str | None = None
    while True:
        page, after = store.read_records(after=after, limit=PAGE, max_bytes=PAGE_BYTES)
        if page:
            yield page
        if after is None:
            return
