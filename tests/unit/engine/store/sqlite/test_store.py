"""What befalls a database that is in use: foreign locks, killed writers, full and failing disks, readers that stay."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from jobyard.engine.errors import JobyardError, StoreBroken, StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import CHECKPOINT_BYTES, IMPATIENCE, SqliteStore
from jobyard.engine.world import World
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.disks import fill, small_disk
from tests.support.world import START
from tests.unit.engine.store.conftest import Open, Stranger, die_at_once, in_another_process, recount

WORLD = World()
DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
ID_BYTES = 24
BATCH = 20
KILLS = 10
JOB_BYTES = 20_000
LOG_BYTES = CHECKPOINT_BYTES + (1 << 18)
PAGE_BYTES = 4096


def a_large_job() -> Job:
    return a_job(job_id=WORLD.object_id(), payload=b'"' + b"x" * JOB_BYTES + b'"')


def log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def insert_until_refused(store: SqliteStore, *, tell: Callable[[str], object]) -> JobyardError:
    """Job after job; the error of the first that is not acknowledged."""
    while True:
        job = a_large_job()
        try:
            store.insert([[job]])
        except JobyardError as fault:
            return fault
        tell(job.job_id)


# ---- a foreign lock


def refused_after_a_wait(store: SqliteStore) -> bool:
    """An insert is refused; whether it waited for the lock before, and did not only try."""
    executed: list[str] = []
    store._connection.set_trace_callback(executed.append)
    with pytest.raises(StoreUnavailable, match="database is locked"):
        store.insert([[a_job()]])
    store._connection.set_trace_callback(None)
    return IMPATIENCE not in executed[: executed.index("BEGIN IMMEDIATE")]


def test_a_foreign_lock_is_waited_for_in_vain_once_and_told_to_all(made: Path, open_store: Open) -> None:
    store, another = open_store(), open_store()
    with Stranger(made, "BEGIN IMMEDIATE"):
        assert [refused_after_a_wait(one) for one in (store, another, store, another)] == [True, False, False, False]

    store.insert([[a_job()]])
    another.insert([[a_job()]])

    assert recount(store) == store.counts() == dict.fromkeys(Status, 0) | {Status.PENDING: 2}


def test_a_short_foreign_lock_is_waited_for_although_there_was_a_long_one(made: Path, open_store: Open) -> None:
    signs: list[bool] = []
    store = open_store(waiting=signs.append)
    with Stranger(made, "BEGIN IMMEDIATE"):
        assert refused_after_a_wait(store)
    store.insert([[a_job()]])

    with Stranger(made, "BEGIN IMMEDIATE") as stranger:
        stranger.leave_soon()
        store.insert([[a_job()]])

    assert signs == [True, False] * 3, "it says when it may have to wait for somebody else"
    assert store.counts()[Status.PENDING] == 2


def test_a_foreign_lock_keeps_nobody_from_reading(made: Path, open_store: Open) -> None:
    job = a_job()
    store = open_store()
    store.insert([[job]])

    with Stranger(made, "BEGIN IMMEDIATE", "DELETE FROM jobs"):
        assert store.find([job.job_id]) == [job]
        assert store.ping()


# ---- writers that break off


def test_an_error_of_ours_in_the_middle_of_a_transaction_leaves_nothing_of_it(made: Path, open_store: Open) -> None:
    store, another = open_store(), open_store()

    with pytest.raises(ZeroDivisionError):
        store.insert([[a_job()] for _ in range(3)], abandoned=lambda number: 1 // (number - 2) == 0)

    another.insert([[a_job()]])
    store.insert([[a_job()]])
    assert recount(store) == store.counts() == dict.fromkeys(Status, 0) | {Status.PENDING: 2}


def test_who_is_killed_in_the_middle_of_a_transaction_leaves_nothing_of_it(made: Path, open_store: Open) -> None:
    store = open_store()

    def die_at_the_last(number: int) -> bool:
        return number == BATCH and die_at_once() is None

    jobs = [[a_large_job() for _ in range(BATCH)] for _ in range(BATCH + 1)]
    status = in_another_process(lambda: open_store().insert(jobs, abandoned=die_at_the_last))

    assert status == -signal.SIGKILL
    assert log_bytes(made) > 1 << 20, "a part of it went to the log, because the writer's cache does not hold it all"
    store.insert([[a_job()]])
    assert store.counts() == recount(store) == dict.fromkeys(Status, 0) | {Status.PENDING: 1}


def live_until_killed(path: Path, told: int) -> None:
    """Insert, claim, return and settle; tell what is acknowledged."""
    store = SqliteStore(path, durable=True, waiting=lambda waits: None)
    while True:
        jobs = [a_job(job_id=WORLD.object_id()) for _ in range(BATCH)]
        store.insert([jobs])
        os.write(told, "".join(job.job_id for job in jobs).encode())
        begun = claim(store, most=BATCH - 3)
        store.apply([lifecycle.return_unstarted(job, now=START) for job in begun[:2]])
        store.apply([lifecycle.settle(job, DONE, now=START, retry_base_s=0) for job in begun[3:]])


def kill_writers(path: Path, dice: random.Random) -> list[str]:
    """Two that write at once, killed in the midst of it; what they were told is stored."""
    read_fd, write_fd = os.pipe()
    pids = [WORLD.fork(lambda: live_until_killed(path, write_fd) or 0) for _ in range(2)]
    os.close(write_fd)
    told = b"".join(os.read(read_fd, BATCH * ID_BYTES) for _ in range(dice.randrange(1, 10)))
    for pid in pids:
        WORLD.kill(pid, signal.SIGKILL)
        assert WORLD.wait(pid) == -signal.SIGKILL
    while rest := os.read(read_fd, 1 << 16):
        told += rest
    os.close(read_fd)
    return [told[at : at + ID_BYTES].decode() for at in range(0, len(told), ID_BYTES)]


def test_however_often_writers_are_killed_what_was_acknowledged_stands_and_the_counts_are_right(
    made: Path, open_store: Open
) -> None:  # fmt: skip
    dice = random.Random(5)
    acknowledged: list[str] = []
    for _ in range(KILLS):
        acknowledged += kill_writers(made, dice)
        store = open_store()
        assert None not in store.find(acknowledged)
        assert store.counts() == recount(store)
        jobs = store.list_jobs(JobFilter(), limit=1000).jobs
        assert all(len(store.executions(job.job_id)) == job.attempt for job in jobs)
        open_store.close()

    assert len(acknowledged) == len(set(acknowledged)) >= KILLS * BATCH
    prepare_file(made)


# ---- disks


def test_a_full_disk_is_told_loses_nothing_and_it_goes_on_when_there_is_room(path: Path, open_store: Open) -> None:
    acknowledged: list[str] = []
    with small_disk(path.parent, 4 << 20):
        path.with_name("fill").write_bytes(bytes(1 << 20))
        prepare_file(path)
        store, another = open_store(), open_store()

        fault = insert_until_refused(store, tell=acknowledged.append)

        assert isinstance(fault, StoreUnavailable) and "disk is full" in fault.message
        assert store.find([a_job().job_id, *acknowledged[-1:]])[1] is not None
        assert another.counts() == recount(another) == dict.fromkeys(Status, 0) | {Status.PENDING: len(acknowledged)}

        path.with_name("fill").unlink()
        jobs = [a_job() for _ in range(10)]
        for one in (another, store):
            one.insert([[job] for job in jobs])

        assert None not in store.find([*acknowledged, *(job.job_id for job in jobs)])
        assert store.counts() == recount(store)
        open_store.close()
        prepare_file(path)


def test_a_disk_that_is_full_from_the_beginning_is_not_taken_for_broken(path: Path, open_store: Open) -> None:
    """There is no room even for the file of the shared memory, which SQLite calls an I/O error."""
    with small_disk(path.parent, 2 << 20):
        prepare_file(path)
        fill(path.with_name("fill"))

        with pytest.raises(StoreUnavailable):
            open_store().insert([[a_job()]])

        path.with_name("fill").unlink()
        open_store().insert([[a_job()]])
        open_store.close()


def test_a_log_that_cannot_be_folded_into_a_full_disk_is_folded_later(path: Path, open_store: Open) -> None:
    with small_disk(path.parent, 16 << 20):
        prepare_file(path)
        store = open_store()
        while log_bytes(path) < CHECKPOINT_BYTES - (1 << 19):
            store.insert([[a_large_job()]])
        fill(path.with_name("fill"), leave=1 << 20)
        before = store.counts()[Status.PENDING]
        stored: list[str] = []

        fault = insert_until_refused(store, tell=stored.append)

        assert isinstance(fault, StoreUnavailable)
        assert log_bytes(path) > CHECKPOINT_BYTES, "it stopped for want of room and not of a checkpoint's error"
        assert recount(store)[Status.PENDING] == before + len(stored), "a commit is not refused because of its checkpoint"
        path.with_name("fill").unlink()
        insert_bytes(store, 2 * CHECKPOINT_BYTES)
        assert log_bytes(path) < LOG_BYTES
        assert None not in store.find(stored)
        open_store.close()


def test_a_disk_that_refuses_to_write_ends_the_process_and_loses_nothing_that_was_acknowledged(
    made: Path, open_store: Open, tmp_path: Path
) -> None:  # fmt: skip
    told = tmp_path / "told"

    def write_until_refused() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        with told.open("w", buffering=1) as file:
            fault = insert_until_refused(open_store(), tell=lambda job_id: print(job_id, file=file))
            print(type(fault).__name__, file=file)
        return 0

    in_another_process(write_until_refused)
    *acknowledged, fault = told.read_text().splitlines()
    store = open_store()

    assert fault == StoreBroken.__name__
    assert acknowledged and None not in store.find(acknowledged)
    assert store.counts() == recount(store) == dict.fromkeys(Status, 0) | {Status.PENDING: len(acknowledged)}


def test_damage_that_shows_in_use_ends_the_process(made: Path, open_store: Open) -> None:
    jobs = [a_large_job() for _ in range(100)]
    open_store().insert([jobs]), open_store.close()
    with made.open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xa5" * (made.stat().st_size - PAGE_BYTES))

    for use in (lambda: open_store().find([jobs[0].job_id]), lambda: open_store().insert([[a_job()]])):
        with pytest.raises(StoreBroken, match="damaged"):
            use()


def test_a_file_that_is_gone_is_not_made_anew(made: Path, open_store: Open) -> None:
    made.unlink()

    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        open_store()

    assert not made.exists()


# ---- the log


def insert_bytes(store: SqliteStore, count: int) -> None:
    """One commit a job."""
    for _ in range(count // JOB_BYTES):
        store.insert([[a_large_job()]])


def test_the_log_stays_small_under_commits_with_readers_that_come_and_go(made: Path, open_store: Open) -> None:
    store, reader = open_store(durable=False), open_store(durable=False)
    largest = 0
    for _ in range(3 * CHECKPOINT_BYTES // JOB_BYTES):
        insert_bytes(store, JOB_BYTES)
        reader.list_jobs(JobFilter(), limit=1)
        largest = max(largest, log_bytes(made))

    assert largest < LOG_BYTES


def test_the_log_is_folded_as_soon_as_a_reader_who_stayed_is_gone(made: Path, open_store: Open) -> None:
    store = open_store(durable=False)
    with Stranger(made, "BEGIN", "SELECT COUNT(*) FROM jobs"):
        insert_bytes(store, 2 * CHECKPOINT_BYTES)
        grown = log_bytes(made)

    insert_bytes(store, 2 * CHECKPOINT_BYTES)

    assert grown > 2 * CHECKPOINT_BYTES, "the reader kept it from being folded"
    assert log_bytes(made) < LOG_BYTES


def test_who_found_a_log_that_could_not_be_folded_folds_it_in_time_again(made: Path, open_store: Open) -> None:
    store = open_store(durable=False)
    with Stranger(made, "BEGIN", "SELECT COUNT(*) FROM jobs"):
        insert_bytes(store, 2 * CHECKPOINT_BYTES)
    insert_bytes(open_store(durable=False), JOB_BYTES)
    assert log_bytes(made) == 0, "another one folded it"

    insert_bytes(store, CHECKPOINT_BYTES + (CHECKPOINT_BYTES >> 1))

    assert log_bytes(made) < LOG_BYTES
