"""Jobs that have begun in a worker's name: which of those that arrive may run, and which never arrived.

A watcher claims a job for the worker and sends it through the queue. When either of them dies, or a connection breaks, a job may be
on its way twice, or not at all:

    pushed again by the watcher ──▶ the store says whether the job is still ours, unless it is in our hands already
    never arrived (a ghost) ──────▶ it runs in our name and is not in our hands: its begin is undone

A ghost that was returned may arrive after all; it is then dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.logs import Log
from jobyard.engine.store.port import Store
from jobyard.engine.worker.slot import Key

PAGE = 500
REMEMBERED = 20_000


class Arrivals:
    """The arrivals at one worker."""

    def __init__(self, *, owner: str, store: Store, log: Log) -> None:
        self._owner = owner
        self._store = store
        self._log = log
        self._doubtful: list[Job] = []
        self._returned: set[Key] = set()
        self._oldest: deque[Key] = deque()
        self._seen_once: set[Key] = set()
        self._dropped: list[Key] = []

    @property
    def has_doubts(self) -> bool:
        """Whether jobs wait here until the store can be asked about them."""
        return bool(self._doubtful)

    def keys(self) -> list[Key]:
        """The leases of those that wait here."""
        return [(job.job_id, job.epoch) for job in self._doubtful]

    def accept(self, jobs: Sequence[Job], *, known: set[Key], is_again: bool) -> list[Job]:
        """Those of the jobs that may run now. `known`: what is in the worker's hands, running or waiting to be settled."""
        if self._returned:
            self._dropped += [key for job in jobs if (key := (job.job_id, job.epoch)) in self._returned]
            jobs = [job for job in jobs if (job.job_id, job.epoch) not in self._returned]
        if not is_again:
            return list(jobs)
        known = known | {*self.keys()}
        self._doubtful += [job for job in jobs if (job.job_id, job.epoch) not in known]
        return []

    def resolve(self, *, known: set[Key]) -> list[Job]:
        """Of the doubtful jobs, those that the store still has as ours. Raises `StoreUnavailable`; they then go on waiting."""
        stored = self._store.find([job.job_id for job in self._doubtful])
        doubtful, self._doubtful = self._doubtful, []
        ours: list[Job] = []
        for job, now in zip(doubtful, stored, strict=True):
            if now is None or (now.status, now.epoch, now.locked_by) != (Status.RUNNING, job.epoch, self._owner):
                self._dropped.append((job.job_id, job.epoch))
            elif (job.job_id, job.epoch) not in known:
                ours.append(now)
        return ours

    def take_dropped(self) -> list[Key]:
        """The leases of what has arrived since the last call and will not run here."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def ghosts(self, *, known: set[Key], claimed_by: str | None = None, seen_twice: bool = False) -> list[Job]:
        """What runs in our name and is not in our hands, to be returned; of one watcher, or of all.

        `seen_twice`: only what was seen by the last such call, too: what is on its way in the ordinary manner arrives in between.
        Raises `StoreUnavailable`.
        """
        known = known | {*self.keys()}
        found = [job for job in self._running() if (job.job_id, job.epoch) not in known | self._returned]
        if claimed_by is not None:
            found = [job for job in found if job.claimed_by == claimed_by]
        if seen_twice:
            before, self._seen_once = self._seen_once, {(job.job_id, job.epoch) for job in found}
            found = [job for job in found if (job.job_id, job.epoch) in before]
        self._remember((job.job_id, job.epoch) for job in found)
        if found:
            self._log.warning("unreceived_jobs_returned", jobs=len(found))
        return found

    def _running(self) -> Iterable[Job]:
        after = None
        while page := self._store.held_by(self._owner, limit=PAGE, after=after):
            yield from (job for job in page if job.status is Status.RUNNING)
            after = page[-1].job_id

    def _remember(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._returned.add(key)
            self._oldest.append(key)
        while len(self._oldest) > REMEMBERED:
            self._returned.discard(self._oldest.popleft())
