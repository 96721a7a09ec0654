"""Copying whole records from any store to any other: complete, in order, begun again at no cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mongomock
import msgspec
import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.databases.migration import Copyable, migrate
from jobyard.engine.errors import CannotStart, Conflict
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Output, Status, Unique
from jobyard.engine.store.bounds import record_bytes
from jobyard.engine.store.port import Inserted
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.builders import a_job, a_log
from tests.support.claims import claim
from tests.support.mongo import open_mock
from tests.support.world import START, FakeWorld

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"
FAILED = Outcome(status=ExecutionStatus.FAILED, error="ValueError: no", traceback="Traceback …")
DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b'{"ok" :true}')


def open_one(kind: str, folder: Path) -> Copyable:
    if kind == "mongo":
        return open_mock(mongomock.MongoClient())
    prepare_file(folder / "jobs.sqlite")
    return SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)


@pytest.fixture(params=[("sqlite", "mongo"), ("mongo", "sqlite"), ("sqlite", "sqlite"), ("mongo", "mongo")], ids="-".join)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Copyable, Copyable]:
    folders = [tmp_path / "from", tmp_path / "to"]
    for folder in folders:
        folder.mkdir()
    source, target = (open_one(kind, folder) for kind, folder in zip(request.param, folders, strict=True))
    return source, target


def lived_in(store: Copyable, count: int = 30) -> list[Job]:
    """Jobs in every state."""
    store.insert([[a_job(payload=b'{"n" : %d}' % n, max_retries=1, idempotency_key=f"k{n}") for n in range(count)]])
    early = listed(store)[-2:]
    claims = [lifecycle.claim(job, owner=WATCHER, now=START) for job in early]
    enqueued = lifecycle.enqueue(claims[1].after(early[1]), now=START)
    store.apply([*claims, enqueued])
    running = claim(store, owner=WATCHER, worker=WORKER, most=count // 2 - 2)
    outcomes = [DONE, FAILED, FAILED]
    store.apply(
        [
            msgspec.structs.replace(
                lifecycle.settle(job, outcomes[number % 3], now=START, retry_base_s=0),
                output=Output(job_id=job.job_id, attempt=job.attempt, text="said"),
            )
            for number, job in enumerate(running[2:])
        ]
    )  # fmt: skip
    (first, *_) = [job for job in listed(store) if job.status is Status.PENDING]
    store.apply([lifecycle.cancel(first, now=START)])
    return listed(store)


def listed(store: Copyable) -> list[Job]:
    return store.list_jobs(JobFilter(), limit=1000).jobs


def copied(source: Copyable, target: Copyable, **more: Any) -> Any:
    return migrate(
        source, target, settings=read_settings({}), world=FakeWorld(), log=a_log(), progress=more.get("progress", lambda n: None)
    )  # fmt: skip


def test_everything_is_there_as_it_was(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)

    done = copied(source, target)

    assert listed(target) == listed(source)
    assert all(target.executions(job.job_id) == source.executions(job.job_id) for job in listed(source))
    assert all(target.outputs(job.job_id) == source.outputs(job.job_id) for job in listed(source))
    assert any(target.outputs(job.job_id) for job in listed(source))
    assert (target.counts(), done.jobs, done.copied) == (source.counts(), 30, 30)


def test_a_request_that_was_answered_with_another_job_is_known_there_too(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    unique = {"unique": Unique(until="begun", on_conflict="replace"), "unique_key": "echo/k", "held_key": "echo/k"}
    first, *others = [a_job(idempotency_key=f"request {n}", request_digest=b"d", **unique) for n in range(1_200)]
    source.insert([[first], *([other] for other in others)])
    source.insert([[a_job(idempotency_key="returned", **unique | {"unique": Unique()})]])

    copied(source, target)
    copied(source, target)

    for key, replaced in (("request 7", (0,)), ("request 1199", (0,)), ("returned", ())):
        digest = None if key == "returned" else b"d"
        [answer] = target.insert([[a_job(idempotency_key=key, request_digest=digest, **unique, payload=b'"older"')]])
        assert answer == Inserted(job_ids=[first.job_id], existing=(0,), replaced=replaced)
    [job] = target.find([first.job_id])
    assert job is not None and job.payload == b"null"


def test_what_a_dead_system_held_waits_again(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)

    done = copied(source, target)

    assert done.recovered == 4
    assert target.holders() == []


def test_a_copy_that_was_cut_short_goes_on(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)
    copied(source, open_one("mongo", Path()))  # gives back what was held, as the copy that was cut short did
    page, after = source.read_records(after=None, limit=12, max_bytes=1 << 20)
    target.write_records(page)

    done = copied(source, target)

    assert after is not None
    assert (done.copied, done.jobs, target.counts()) == (18, 30, source.counts())


def test_a_page_ends_with_the_first_record_past_its_bytes(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)
    source.insert([[a_job(payload=b'"%s"' % (b"x" * 1_000_000)) for _ in range(7)]])
    pages = []
    after: str | None = None
    while not pages or after is not None:
        page, after = source.read_records(after=after, limit=20, max_bytes=2_500_000)
        target.write_records(page)
        pages.append(sum(len(job.payload) for job, *_ in page))

    assert max(pages) < 3_100_000
    assert {job.job_id for job in listed(target)} == {job.job_id for job in listed(source)}


def test_a_page_counts_what_attempts_left(ends: tuple[Copyable, Copyable]) -> None:
    source, _ = ends
    lived_in(source)
    everything, _ = source.read_records(after=None, limit=1000, max_bytes=1 << 30)

    page, after = source.read_records(after=None, limit=1000, max_bytes=sum(record_bytes(*record) for record in everything[:9]))

    assert (page, after is not None) == (everything[:10], True)


def test_a_copy_made_twice_changes_nothing(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)
    copied(source, target)
    before = listed(target)

    assert copied(source, target).copied == 0
    assert listed(target) == before


def test_progress_counts_every_job_twice_once_copied_once_compared(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)
    told: list[int] = []

    copied(source, target, progress=told.append)

    assert sum(told) == 60


def test_a_key_that_another_job_has_there_stops_the_copy(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    lived_in(source)
    target.insert([[a_job(idempotency_key="k3")]])

    with pytest.raises(Conflict):
        copied(source, target)


def test_a_difference_is_told(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    jobs = lived_in(source)
    copied(source, target)
    pending = next(job for job in jobs if job.status is Status.PENDING)
    target.apply([lifecycle.cancel(pending, now=START)])

    with pytest.raises(CannotStart) as told:
        copied(source, target)

    assert pending.job_id in told.value.message


def test_copied_jobs_are_found_by_their_tags_and_the_kind_of_their_error(ends: tuple[Copyable, Copyable]) -> None:
    source, target = ends
    failed = a_job(status=Status.FAILED, error="no 7", finished_at=START, tags=("a", "b"))
    waiting = a_job(error="no 8", tags=("a",))
    source.insert([[failed], [waiting]])

    copied(source, target)

    assert [job.job_id for job in target.list_jobs(JobFilter(tag=("b",)), limit=9).jobs] == [failed.job_id]
    assert len(target.list_jobs(JobFilter(tag=("a",)), limit=9).jobs) == 2
    assert len(target.list_jobs(JobFilter(error_kind="no"), limit=9).jobs) == 2
    assert [one.count for one in target.reports.failures()] == [1]
