"""Fires on MongoDB, where a job, the end of what it replaces and the advance of its schedule are separate writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import mongomock
import msgspec
import pytest

from jobyard.engine.jobs.job import Job, JobFilter, Status
from jobyard.engine.schedules.fire_times import Timing, next_fire
from jobyard.engine.schedules.look import Look, Made, look_at
from jobyard.engine.schedules.schedule import OVERLAP, Definition, Paused, Schedule
from jobyard.engine.store.declare_schedule import declare_schedule
from jobyard.engine.store.mongo.store import MongoStore
from jobyard.engine.store.schedule_port import DueLooks
from tests.support.builders import a_job
from tests.support.mongo import open_mock
from tests.support.world import START

MINUTE = timedelta(minutes=1)


class Death(Exception):
    """The process dies."""


@pytest.fixture
def server() -> mongomock.MongoClient:
    client = mongomock.MongoClient()
    open_mock(client)._server.jobs.create_index(
        [("schedule", 1), ("fire_at", 1)], unique=True, partialFilterExpression={"fire_at": {"$exists": True}}
    )  # fmt: skip
    return client


def asked(overlap: str = "skip", every_s: float = 60) -> Definition:
    return Definition(timing=Timing(every_s=every_s, starts_at=START), job={"task": "echo"}, overlap=overlap)


def save(store: MongoStore, overlap: str = "skip") -> None:
    definition = asked(overlap)
    schedule = Schedule(name="s", asked=definition, next_fire_at=next_fire(definition.timing, START))
    assert store.schedules.save(schedule, was=None)


def fire(store: MongoStore, minutes: int = 1) -> DueLooks:
    now = START + minutes * MINUTE

    def decide(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
        return look_at(schedule, now=now, living=living, room=9, make=lambda one, at: a_job(), made=made)

    return store.schedules.fire_due(decide, now=now, limit=9)


def before(store: MongoStore, step: str, act: Callable[[], object]) -> None:
    """Do something just before one of the steps of a look, once."""
    original = getattr(store.schedules, step)

    def preceded(*words: object) -> object:
        setattr(store.schedules, step, original)
        act()
        return original(*words)

    setattr(store.schedules, step, preceded)


def die() -> None:
    raise Death


def found(store: MongoStore) -> Schedule:
    schedule = store.schedules.find("s")
    assert schedule is not None
    return schedule


def jobs_of(store: MongoStore) -> list[Job]:
    return store.list_jobs(JobFilter(schedule="s"), limit=99).jobs


@pytest.mark.parametrize("overlap", OVERLAP)
@pytest.mark.parametrize("step", ["_insert", "_cancel", "_advance"])
def test_whatever_dies_between_its_writes_a_fire_is_made_once(server: mongomock.MongoClient, overlap: str, step: str) -> None:
    store = open_mock(server)
    save(store, overlap)
    older = a_job(schedule="s", fire_at=START, attempt=1)
    store.insert([[older]] if overlap != "skip" else [])
    before(store, step, die)

    with pytest.raises(Death):
        fire(store)
    other = open_mock(server)
    fire(other)

    after = found(other)
    [job] = [job for job in jobs_of(other) if job.fire_at == START + MINUTE]
    assert (after.fires, after.missed, after.last_job_id, job.status) == (1, {}, job.job_id, Status.PENDING)
    assert fire(other).fired == [] and after.next_fire_at == START + 2 * MINUTE
    if overlap == "replace":
        assert [job.status for job in other.find([older.job_id]) if job] == [Status.CANCELLED]


@pytest.mark.parametrize("overlap", OVERLAP)
@pytest.mark.parametrize("step", ["_living", "_made", "_insert", "_cancel", "_advance"])
def test_two_that_look_at_once_make_one_job(server: mongomock.MongoClient, overlap: str, step: str) -> None:
    one, other = open_mock(server), open_mock(server)
    save(one, overlap)
    before(one, step, lambda: fire(other))

    fire(one)

    [job] = jobs_of(one)
    after = found(one)
    assert (after.fires, after.missed, after.last_job_id, job.status) == (1, {}, job.job_id, Status.PENDING)


@pytest.mark.parametrize("step", ["_insert", "_advance"])
def test_a_fire_that_was_under_way_when_its_times_changed_counts(server: mongomock.MongoClient, step: str) -> None:
    one, other = open_mock(server), open_mock(server)
    save(one)
    now = START + MINUTE
    before(one, step, lambda: declare_schedule(other.schedules, "s", asked(every_s=7), origin="api", now=now))

    fire(one)

    after = found(one)
    assert (after.fires, after.last_fire_at, after.next_fire_at) == (1, now, next_fire(asked(every_s=7).timing, now))
    assert [job.job_id for job in jobs_of(one)] == [after.last_job_id]


def test_a_fire_that_was_under_way_when_a_pause_came_counts(server: mongomock.MongoClient) -> None:
    one, other = open_mock(server), open_mock(server)
    save(one)
    paused = msgspec.structs.replace(found(one), paused=Paused(by="api", since=START), version=1)
    before(one, "_advance", lambda: other.schedules.save(paused, was=0))

    fire(one)
    fire(one)

    after = found(one)
    assert (after.fires, after.missed, len(jobs_of(one))) == (1, {}, 1) and after.paused == paused.paused
