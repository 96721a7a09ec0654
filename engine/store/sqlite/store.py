"""The store on SQLite: one connection per process, WAL mode, every commit under `CommitLock`; readers never wait.

`durable` stores (the schedulers') sync every commit to disk before they return. Other processes' commits may be lost in a power
failure, but not in a crash, and are then redone. A full or locked database raises `StoreUnavailable`; an I/O error or a damaged
file raises `StoreBroken`, which ends the process: nothing continues in memory only.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from jobyard.engine.errors import Conflict, StoreBroken
from jobyard.engine.jobs.job import Execution, ExecutionStatus, HttpLease, Job, JobFilter, Output, Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Change, after_begin
from jobyard.engine.store import bounds
from jobyard.engine.store.limit_port import LimitStore
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.port import (
    ANYTHING,
    Allocation,
    Claimed,
    Count,
    Due,
    Insertion,
    Page,
    Record,
    Seen,
    Served,
    nobody,
)
from jobyard.engine.store.report_port import ReportStore
from jobyard.engine.store.schedule_port import ScheduleStore
from jobyard.engine.store.sqlite import removal, rows, statements
from jobyard.engine.store.sqlite.changes import GuardLost, SqliteChanges
from jobyard.engine.store.sqlite.claims import SqliteClaims, portions
from jobyard.engine.store.sqlite.commit_lock import CommitLock
from jobyard.engine.store.sqlite.engine import sqlite3, words
from jobyard.engine.store.sqlite.faults import is_broken, told_plainly
from jobyard.engine.store.sqlite.hooks import SqliteHooks
from jobyard.engine.store.sqlite.insert import free_key, insert_jobs
from jobyard.engine.store.sqlite.lane_claims import choose_all, first_ready
from jobyard.engine.store.sqlite.lanes import SqliteLanes
from jobyard.engine.store.sqlite.limits import SqliteLimits
from jobyard.engine.store.sqlite.named_rows import SqliteNamedRows
from jobyard.engine.store.sqlite.remembered_keys import SqliteRememberedKeys
from jobyard.engine.store.sqlite.reports import SqliteReports
from jobyard.engine.store.sqlite.schedules import SqliteSchedules
from jobyard.engine.store.sqlite.search import SqliteSearch
from jobyard.engine.store.sqlite.wal_sync import WalSync
from jobyard.engine.store.sqlite.workflows import INSERT_EDGE, SqliteWorkflows, edges_of
from jobyard.engine.workflows.port import WorkflowStore

FOREIGN_LOCK_S = 2.0
PATIENCE, IMPATIENCE = (f"PRAGMA busy_timeout = {round(s * 1000)}" for s in (FOREIGN_LOCK_S, 0))
CHECKPOINT_BYTES = 4 << 20
CACHE_KIB = 4_096


class SqliteStore:
    """See `Store`."""

    def __init__(self, path: Path, *, durable: bool, waiting: Callable[[bool], None]) -> None:
        self._folder = path.parent
        self._wal = str(path.with_name(path.name + "-wal"))
        self._waiting = waiting
        self._lock = CommitLock(path.with_name(path.name + "-lock"), waiting)
        self._deltas: Counter[str] = Counter()
        self._checkpoint_at, self._commits = CHECKPOINT_BYTES, 0
        self._sync = WalSync(Path(self._wal)) if durable else None
        with self._told_plainly():
            uri = f"{path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=FOREIGN_LOCK_S, cached_statements=256)
            self._run = self._connection.execute
            self._search = SqliteSearch(self._run, self.counts)
            self._lanes = SqliteLanes(self._connection)
            self.limits: LimitStore = SqliteLimits(self._connection, self._lanes, commit=self._commit, reading=self._told_plainly)
            self.hooks: NamedRows = SqliteNamedRows(self._run, "hooks", commit=self._commit, reading=self._told_plainly)
            self.http_tasks: NamedRows = SqliteNamedRows(
                self._run, "http_tasks", commit=self._commit, reading=self._told_plainly, in_use=statements.LIVING
            )
            workflows = SqliteWorkflows(self._connection, commit=self._commit, reading=self._told_plainly)
            self.workflows: WorkflowStore = workflows
            hooks = SqliteHooks(
                self._connection, lambda jobs: self._insert(jobs, lambda: False),
                group_end=lambda group: workflows.group_standing(group).end,
            )  # fmt: skip
            self._changes = SqliteChanges(self._connection, deltas=self._deltas, lanes=self._lanes, tell=hooks.tell)
            self.schedules: ScheduleStore = SqliteSchedules(
                self._connection, commit=self._commit, reading=self._told_plainly, deltas=self._deltas, lanes=self._lanes,
                hooks=hooks,
            )
            self._insert = partial(insert_jobs, self._connection, workflows, deltas=self._deltas, lanes=self._lanes)
            self.remembered_keys = SqliteRememberedKeys(self._connection, commit=self._commit, reading=self._told_plainly)
            self._claims = SqliteClaims(self._run)
            self.reports: ReportStore = SqliteReports(self._run, reading=self._told_plainly, claims=self._claims)
            self._run("PRAGMA wal_autocheckpoint = 0")
            self._run("PRAGMA synchronous = NORMAL")
            self._run(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._run("PRAGMA mmap_size = 0")

    # ---- writing

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        with self._alone():
            insertions = [self._insert(jobs, partial(abandoned, number)) for number, jobs in enumerate(requests)]
        seen(insertions)
        self._make_durable()
        return insertions

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        with self._commit():
            return free_key(self._connection, key, now)

    def claim_due(
        self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served = ANYTHING
    ) -> Claimed:  # fmt: skip
        now_ms = rows.to_ms(now) or 0
        with self._told_plainly():
            due = [group for group in self._claims.groups(served) if group.due <= now_ms]
            is_any_ready = any(at is not None and at <= now_ms for at in first_ready(self._run))
        if not (due or is_any_ready) or not allocation.most:
            return Claimed(jobs=[])
        with self._commit():
            choice = choose_all(self._run, self._claims, self._lanes, due, now, allocation, served)
            begun_at, until = rows.as_stored(choice.now), rows.as_stored(choice.now + timedelta(seconds=lease_s))
            begun = self._claims.begin(choice.chosen, owner, begun_at, until)
            read = partial(rows.begun_to_job, owner=owner, now=begun_at, locked_until=until)
            rare = {row[0]: read(row[1:]) for row in begun if row[-1] is not None}  # of the others, none is in a lane
            self._lanes.take_slots(rare.values())
            self._deltas[Status.PENDING] -= len(begun)
            self._deltas[Status.RUNNING] += len(begun)
        jobs = [after_begin(rare.get(row[0]) or read(row[1:]), choice.now) for row in begun]
        return Claimed(jobs=jobs, conflicts=int(bool(due) and not choice.is_any_due), asked=choice.asked)

    def runs_lost_job(self, owner: str, *, at_least: int) -> bool:
        with self._told_plainly():
            return self._run(statements.HOLDS_LOST, (owner, at_least)).fetchone() is not None

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Usually every guard matches; then the statement need not report for each row whether it changed."""
        if not changes:
            return []
        with contextlib.suppress(GuardLost, sqlite3.IntegrityError), self._commit():
            self._changes.apply_all(changes)
            return [True] * len(changes)
        with self._commit():
            return [self._changes.apply(change) for change in changes]

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        with self._told_plainly():
            if not removal.is_any_old(self._run, before, statuses):
                return 0
        with self._commit():
            return removal.purge(self._run, before, limit, statuses, self._deltas)

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        with self._commit():
            return removal.delete(self._run, jobs, self._deltas)

    # ---- reading

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        found: dict[str, Job] = {}
        with self._told_plainly():
            for some in portions(job_ids):
                asked = [rows.to_blob(job_id) for job_id in some]
                for row in self._run(statements.find(len(asked), whole), asked):
                    job = rows.row_to_job(row)
                    found[job.job_id] = job
        return [found.get(job_id) for job_id in job_ids]

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        going_on: set[str] = set()
        with self._told_plainly():
            for some in portions(job_ids):
                asked = [rows.to_blob(job_id) for job_id in some]
                going_on |= {row[0].hex() for row in self._run(statements.find_unended(len(asked)), asked)}
        return [job_id for job_id in job_ids if job_id not in going_on]

    def version(self) -> object | None:
        """SQLite reports only other connections' commits, so our own are counted."""
        with self._told_plainly():
            return self._run("PRAGMA data_version").fetchone()[0], self._commits

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = bounds.PAGE_BYTES, whole: bool = True,
        look: int = bounds.LOOK,
    ) -> Page:  # fmt: skip
        with self._told_plainly():
            return self._search.page(wanted, limit=limit, cursor=cursor, max_bytes=max_bytes, whole=whole, look=look)

    def count_jobs(self, wanted: JobFilter, *, look: int = bounds.COUNT_LOOK) -> Count:
        with self._told_plainly():
            return self._search.count(wanted, look=look)

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = bounds.AHEAD_LOOK) -> Count:
        with self._told_plainly():
            return self._claims.count_ahead(job, rows.to_ms(now) or 0, served, look)

    def counts(self) -> dict[Status, int]:
        with self._told_plainly():
            return {rows.STATUSES[status]: jobs for status, jobs in self._run(statements.COUNTS)}

    def next_due(self, *, served: Served = ANYTHING) -> datetime | None:
        with self._told_plainly():
            in_lanes = [at for at in first_ready(self._run) if at is not None]
            return rows.from_ms(min([*(group.due for group in self._claims.groups(served)), *in_lanes], default=None))

    def due(self, *, now: datetime, limit: int, served: Served = ANYTHING) -> list[Job]:
        with self._told_plainly():
            return self._claims.due(rows.to_ms(now) or 0, limit, served)

    def count_due(self, *, now: datetime, served: Served = ANYTHING, look: int = bounds.AHEAD_LOOK) -> Due:
        with self._told_plainly():
            return self._claims.count_due(rows.to_ms(now) or 0, served, look)

    def expired(self, *, now: datetime, limit: int) -> list[Job]:
        with self._told_plainly():
            found = self._run(statements.EXPIRED, (rows.to_ms(now), limit)).fetchall()
        return [rows.row_to_job(row) for row in found]

    def next_expiry(self) -> datetime | None:
        with self._told_plainly():
            return rows.from_ms(self._run(statements.NEXT_EXPIRY).fetchone()[0])

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        with self._told_plainly():
            found = self._run(statements.HELD_BY, (owner, rows.to_blob(after or ""), limit)).fetchall()
        return [rows.row_to_job(row) for row in found]

    def holders(self) -> list[str]:
        with self._told_plainly():
            return [holder for (holder,) in self._run(statements.HOLDERS)]

    def cancel_requests(self, owner: str) -> list[str]:
        with self._told_plainly():
            return [row[0].hex() for row in self._run(statements.CANCEL_REQUESTS, (owner,))]

    def http_leases(self) -> list[HttpLease]:
        with self._told_plainly():
            return [rows.row_to_lease(row) for row in self._run(statements.HTTP_LEASES)]

    def executions(self, job_id: str, *, max_bytes: int = bounds.EXECUTIONS_BYTES) -> list[Execution]:
        with self._told_plainly():
            found = self._run(statements.EXECUTIONS, (rows.to_blob(job_id),))
            return bounds.latest_within(map(rows.row_to_execution, found), max_bytes)

    def outputs(self, job_id: str, *, max_bytes: int = bounds.OUTPUTS_BYTES) -> list[Output]:
        with self._told_plainly():
            return bounds.latest_outputs(map(rows.row_to_output, self._run(statements.OUTPUTS, (rows.to_blob(job_id),))), max_bytes)

    def mend(self, *, now: datetime, thorough: bool) -> None:
        """Does nothing: an SQLite transaction is never left unfinished."""

    def ping(self) -> str:
        self.counts()
        return words()

    def close(self) -> None:
        self._connection.close()
        self._lock.close()
        if self._sync is not None:
            self._sync.close()

    # ---- whole records, see `databases.migration.Copyable`

    def read_records(self, *, after: str | None, limit: int, max_bytes: int) -> tuple[list[Record], str | None]:
        with self._told_plainly():
            found = self._run(statements.NEXT_RECORDS, (int(after or 0), limit))
            return bounds.first_records(((self._whole(rows.row_to_job(row[1:])), str(row[0])) for row in found), limit, max_bytes)

    def _whole(self, job: Job) -> Record:
        return job, self.executions(job.job_id, max_bytes=bounds.UNBOUNDED), self.outputs(job.job_id, max_bytes=bounds.UNBOUNDED)

    def write_records(self, records: Iterable[Record]) -> int:
        written = 0
        with self._commit():
            for job, executions, outputs in records:
                try:
                    is_new = self._run(statements.INSERT_JOB, rows.job_to_row(job)).rowcount == 1
                    self._lanes.enter_again(job)
                except sqlite3.IntegrityError as taken:
                    told = f"another job there has the idempotency key, unique key or fire time of job {job.job_id}"
                    raise Conflict("conflict", told) from taken
                self._connection.executemany(INSERT_EDGE, edges_of(job))
                self._deltas[job.status] += is_new
                written += is_new
                if job.tags:
                    self._run(statements.STORE_TAGS, (rows.to_blob(job.job_id),))
                ended = (execution for execution in executions if execution.status is not ExecutionStatus.RUNNING)
                self._connection.executemany(statements.STORE_EXECUTION, map(rows.execution_to_row, ended))
                self._connection.executemany(statements.STORE_OUTPUT, map(rows.output_to_row, outputs))
        return written

    # ---- transactions

    @contextlib.contextmanager
    def _commit(self) -> Iterator[None]:
        """One transaction, including the counts it changes, under the commit lock; the sync to disk follows outside the lock."""
        with self._alone():
            yield
        self._make_durable()

    def _make_durable(self) -> None:
        if self._sync is not None:
            try:
                self._sync.sync()
            except OSError as fault:
                raise StoreBroken(f"the database's disk failed: {fault.strerror}") from fault

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock, self._told_plainly():
            self._deltas.clear()
            self._begin()
            try:
                yield
                self._connection.executemany(statements.COUNT_ON, [(n, str(status)) for status, n in self._deltas.items() if n])
                self._run("COMMIT")
                self._commits += 1
            except BaseException:
                if self._connection.in_transaction:
                    self._run("ROLLBACK")
                raise
            self._checkpoint()

    def _begin(self) -> None:
        """Wait for a foreign program that holds SQLite's own lock. After one wait timed out, processes only try until one succeeds.

        `waiting` is called: like a wait for the commit lock, this one is not the caller's fault.
        """
        only_try = self._lock.was_in_vain()
        if only_try:
            self._run(IMPATIENCE)
        self._waiting(True)
        has_begun = False
        try:
            self._run("BEGIN IMMEDIATE")
            has_begun = True
        finally:
            self._waiting(False)
            if only_try:
                self._run(PATIENCE)
            if only_try == has_begun:
                self._lock.tell_next(was_in_vain=not has_begun)

    def _checkpoint(self) -> None:
        """Reset the log. Under the lock no one commits, so only an active reader prevents it; it is retried when the log has grown.

        The commit stands whatever happens here: if the disk is full, the checkpoint is retried later.
        """
        with contextlib.suppress(FileNotFoundError):
            size = os.stat(self._wal).st_size
            if size < self._checkpoint_at:
                self._checkpoint_at = min(self._checkpoint_at, size + CHECKPOINT_BYTES)
                return
            self._run(IMPATIENCE)
            try:
                is_undone = bool(self._run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
            except sqlite3.OperationalError as fault:
                if is_broken(fault, self._folder):
                    raise
                is_undone = True
            self._run(PATIENCE)
            self._checkpoint_at = CHECKPOINT_BYTES + (size if is_undone else 0)

    def _told_plainly(self) -> contextlib.AbstractContextManager[None]:
        return told_plainly(self._folder)
