"""How the cost of a question or a change grows with the number of stored jobs: the store alone, asked in this process.

All databases are there before the first is asked, and each round asks every one of them the same, in turn: so what else the
machine does meanwhile falls on all alike. A cost is the median of its rounds.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.store.port import JobFilter
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.bench.stock import some_job

LIMITS = [500] * 10
PAGE = 100
MANY = 100
WATCHER, WORKER = "box:0123456789abcdef:watcher-9001:2001", "box:0123456789abcdef:worker-7001:2002"


@dataclass(slots=True)
class Subject:
    """One database under measurement."""

    store: SqliteStore
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(time.time_ns()))
    """Of new jobs: later than any that is stored."""

    def new_jobs(self, count: int) -> list[Job]:
        """Due now."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [some_job(next(self.numbers), at=now) for _ in range(count)]


def insert(subject: Subject, jobs: int) -> Callable[[], object]:
    """So many in one commit; they are taken out of the way by the next `claim`."""
    fresh = subject.new_jobs(jobs)
    return lambda: subject.store.insert([fresh])


def claim(subject: Subject, jobs: int) -> Callable[[], object]:
    """As a watcher does it, with room for more than are due."""
    _finish(subject)
    subject.store.insert([subject.new_jobs(jobs)])
    now = datetime.now(UTC)
    return lambda: subject.store.claim_due(owner=WATCHER, now=now, limits=LIMITS)


def settle(subject: Subject, jobs: int) -> Callable[[], object]:
    """As a worker does it: begun and ended, with the execution."""
    claim(subject, jobs)()
    queued = [job for job in subject.store.held_by(WATCHER, limit=jobs) if job.status is Status.QUEUED]
    return lambda: _run(subject, queued)


def next_due(subject: Subject, jobs: int) -> Callable[[], object]:
    """What a watcher asks before it sleeps."""
    return lambda: subject.store.next_due(limits=LIMITS)


def find(subject: Subject, jobs: int) -> Callable[[], object]:
    """The oldest by its id."""
    return lambda: subject.store.find([f"{1:024x}"])


def listed(wanted: JobFilter) -> Callable[[Subject, int], Callable[[], object]]:
    """The first page."""
    return lambda subject, jobs: lambda: subject.store.list_jobs(wanted, limit=PAGE)


def counts(subject: Subject, jobs: int) -> Callable[[], object]:
    """All seven."""
    return lambda: subject.store.counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something whose cost is of interest. `prepare` does what does not count and returns what does."""

    name: str
    prepare: Callable[[Subject, int], Callable[[], object]]
    jobs: int = 1


ACTS: tuple[Act, ...] = (
    Act(name="insert 1", prepare=insert),
    Act(name=f"insert {MANY}", prepare=insert, jobs=MANY),
    Act(name="claim 1", prepare=claim),
    Act(name=f"claim {MANY}", prepare=claim, jobs=MANY),
    Act(name="begin and settle 1", prepare=settle),
    Act(name="next due", prepare=next_due),
    Act(name="find", prepare=find),
    Act(name=f"list {PAGE}", prepare=listed(JobFilter())),
    Act(name=f"list {PAGE} completed", prepare=listed(JobFilter(status=Status.COMPLETED))),
    Act(name=f"list {PAGE} pending", prepare=listed(JobFilter(status=Status.PENDING))),
    Act(name=f"list {PAGE} of a task", prepare=listed(JobFilter(task="echo"))),
    Act(name=f"list {PAGE} failed (none)", prepare=listed(JobFilter(status=Status.FAILED))),
    Act(name="counts", prepare=counts),
)
"""In this order within a round."""


def costs_us(folders: Mapping[int, Path], *, rounds: int, acts: Sequence[Act] = ACTS) -> dict[str, dict[int, float]]:
    """The median cost of each act by the number of stored jobs, in µs."""
    seen: dict[tuple[str, int], list[float]] = {(act.name, size): [] for act in acts for size in folders}
    with ExitStack() as stack:
        subjects = {size: Subject(stack.enter_context(closing(_open(folder)))) for size, folder in folders.items()}
        for number in range(rounds):
            sizes = list(subjects)
            for act in acts:
                for size in sizes[number % len(sizes) :] + sizes[: number % len(sizes)]:
                    seen[act.name, size].append(_cost_us(act, subjects[size]))
        for subject in subjects.values():
            _finish(subject)
    return {act.name: {size: statistics.median(seen[act.name, size]) for size in folders} for act in acts}


def _cost_us(act: Act, subject: Subject) -> float:
    doing = act.prepare(subject, act.jobs)
    began_ns = time.perf_counter_ns()
    doing()
    return (time.perf_counter_ns() - began_ns) / 1000


def _finish(subject: Subject) -> None:
    """Whatever waits for a worker is completed."""
    while subject.store.claim_due(owner=WATCHER, now=datetime.now(UTC), limits=LIMITS).tickets:
        pass
    while held := subject.store.held_by(WATCHER, limit=500):
        _run(subject, held)


def _run(subject: Subject, queued: Sequence[Job]) -> None:
    now = datetime.now(UTC)
    begins = [lifecycle.begin(job, owner=WORKER, now=now, lease_s=30) for job in queued]
    done = Outcome(status=ExecutionStatus.SUCCESS, result=b'"test job"')
    running = [begin.after(job) for begin, job in zip(begins, queued, strict=True)]
    ends = [lifecycle.settle(job, done, now=now, retry_base_s=10) for job in running]
    subject.store.apply([*begins, *ends])


def _open(folder: Path) -> SqliteStore:
    return SqliteStore(folder / DATABASE_FILE, durable=False, waiting=lambda waits: None)
