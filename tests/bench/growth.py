"""How the cost of reads and changes grows with the number of stored jobs; measures the store alone, in this process.

All databases exist before the first measurement, and every round performs each operation on every one of them in turn, so that
other load on the machine affects all of them alike. A cost is the median of its rounds.
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
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.bench.prefilled_database import some_job
from tests.support.claims import AllAt

MOST = 500
PAGE = 100
MANY = 100
WATCHER, WORKER = "box:0123456789abcdef:watcher-9001:2001", "box:0123456789abcdef:worker-7001:2002"


@dataclass(slots=True)
class Subject:
    """One database under measurement."""

    store: SqliteStore
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(time.time_ns()))
    """Numbers for new jobs, higher than those of all stored jobs."""

    def new_jobs(self, count: int) -> list[Job]:
        """New jobs that are due now."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [some_job(next(self.numbers), at=now) for _ in range(count)]


def insert(subject: Subject, jobs: int) -> Callable[[], object]:
    """Insert jobs in one commit; the next `claim` removes them from the pending ones."""
    fresh = subject.new_jobs(jobs)
    return lambda: subject.store.insert([fresh])


def claim(subject: Subject, jobs: int) -> Callable[[], object]:
    """Claim as a watcher does, with room for more jobs than are due."""
    _finish(subject)
    subject.store.insert([subject.new_jobs(jobs)])
    now = datetime.now(UTC)
    return lambda: _claim(subject.store, now)


def settle(subject: Subject, jobs: int) -> Callable[[], object]:
    """Settle jobs as a worker does, with their executions."""
    _finish(subject)
    subject.store.insert([subject.new_jobs(jobs)])
    running = _claim(subject.store, datetime.now(UTC))
    return lambda: _settle(subject, running)


def next_due(subject: Subject, jobs: int) -> Callable[[], object]:
    """The read of a watcher before it sleeps."""
    return lambda: subject.store.next_due()


def find(subject: Subject, jobs: int) -> Callable[[], object]:
    """Find the oldest job by its id."""
    return lambda: subject.store.find([f"{1:024x}"])


def listed(wanted: JobFilter) -> Callable[[Subject, int], Callable[[], object]]:
    """List the first page."""
    return lambda subject, jobs: lambda: subject.store.list_jobs(wanted, limit=PAGE)


def counts(subject: Subject, jobs: int) -> Callable[[], object]:
    """Count the jobs of all seven statuses."""
    return lambda: subject.store.counts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation to measure. `prepare` does what is not measured, and returns what is."""

    name: str
    prepare: Callable[[Subject, int], Callable[[], object]]
    jobs: int = 1


OPERATIONS: tuple[Operation, ...] = (
    Operation(name="insert 1", prepare=insert),
    Operation(name=f"insert {MANY}", prepare=insert, jobs=MANY),
    Operation(name="claim 1", prepare=claim),
    Operation(name=f"claim {MANY}", prepare=claim, jobs=MANY),
    Operation(name="settle 1", prepare=settle),
    Operation(name="next due", prepare=next_due),
    Operation(name="find", prepare=find),
    Operation(name=f"list {PAGE}", prepare=listed(JobFilter())),
    Operation(name=f"list {PAGE} completed", prepare=listed(JobFilter(status=Status.COMPLETED))),
    Operation(name=f"list {PAGE} pending", prepare=listed(JobFilter(status=Status.PENDING))),
    Operation(name=f"list {PAGE} of a task", prepare=listed(JobFilter(task="echo"))),
    Operation(name=f"list {PAGE} failed (none)", prepare=listed(JobFilter(status=Status.FAILED))),
    Operation(name="counts", prepare=counts),
)
"""In the order within a round."""


def costs_us(
    folders: Mapping[int, Path], *, rounds: int, operations: Sequence[Operation] = OPERATIONS
) -> dict[str, dict[int, float]]:
    """The median cost of each operation by the number of stored jobs, in µs."""
    seen: dict[tuple[str, int], list[float]] = {(operation.name, size): [] for operation in operations for size in folders}
    with ExitStack() as stack:
        subjects = {size: Subject(stack.enter_context(closing(_open(folder)))) for size, folder in folders.items()}
        for number in range(rounds):
            sizes = list(subjects)
            for operation in operations:
                for size in sizes[number % len(sizes) :] + sizes[: number % len(sizes)]:
                    seen[operation.name, size].append(_cost_us(operation, subjects[size]))
        for subject in subjects.values():
            _finish(subject)
    return {operation.name: {size: statistics.median(seen[operation.name, size]) for size in folders} for operation in operations}


def _cost_us(operation: Operation, subject: Subject) -> float:
    action = operation.prepare(subject, operation.jobs)
    began_ns = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - began_ns) / 1000


def _finish(subject: Subject) -> None:
    """Complete all jobs that wait for a worker."""
    while _claim(subject.store, datetime.now(UTC)):
        pass
    while held := subject.store.held_by(WORKER, limit=MOST):
        _settle(subject, held)


def _claim(store: SqliteStore, now: datetime) -> list[Job]:
    return store.claim_due(owner=WATCHER, now=now, lease_s=30, allocation=AllAt(WORKER, most=MOST)).jobs


def _settle(subject: Subject, running: Sequence[Job]) -> None:
    now = datetime.now(UTC)
    done = Outcome(status=ExecutionStatus.SUCCESS, result=b'"test job"')
    subject.store.apply([lifecycle.settle(job, done, now=now, retry_base_s=10) for job in running])


def _open(folder: Path) -> SqliteStore:
    return SqliteStore(folder / DATABASE_FILE, durable=False, waiting=lambda waits: None)
