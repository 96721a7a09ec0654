"""Every event that a hook selects makes exactly one delivery job, in whatever store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from jobyard.engine.hooks.events import is_from_hook
from jobyard.engine.hooks.hook import EVENTS, GROUP_ENDED, MISSED, Disabled, Hook
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.fire_times import Timing
from jobyard.engine.schedules.look import Look, Made, look_at
from jobyard.engine.schedules.schedule import ALLOW, Definition, Paused, Schedule
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
from jobyard.engine.timestamps import rfc3339
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import WATCHER, AllAt
from tests.support.world import START

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b'{"x": 1}')
WRONG = Outcome(status=ExecutionStatus.FAILED, error="no")
LATER = START + timedelta(seconds=10)


def put(store: Store, name: str = "all", **fields: Any) -> Hook:
    hook = Hook(**{"name": name, "url": "http://example.org/", "events": EVENTS, "secret": SECRET, **fields})
    assert store.hooks.save(NamedRow(name, 1, msgspec.json.encode(hook)), was=None)
    return hook


def running(store: Store, **fields: Any) -> Job:
    store.insert([[a_job(**fields)]])
    (job,) = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt()).jobs
    return job


def settled(job: Job, outcome: Outcome) -> Change:
    return lifecycle.settle(job, outcome, now=LATER, retry_base_s=10)


def made(store: Store) -> list[Job]:
    jobs = store.list_jobs(JobFilter(), limit=100).jobs
    return sorted((job for job in jobs if is_from_hook(job.job_id)), key=lambda job: job.payload)


def told(store: Store) -> list[tuple[str, str]]:
    """The hook and the type of each event."""
    payloads = [json.loads(job.payload) for job in made(store)]
    return sorted((payload["hook"], payload["event"]["type"]) for payload in payloads)


def test_a_completion_makes_one_delivery_for_each_hook_that_selects_it(store: Store) -> None:
    put(store)
    put(store, "other", events=("job.failed",))
    put(store, "mail", filter={"task": "mail"})
    put(store, "off", disabled=Disabled(at=START, reason="x"))
    job = running(store, task="draw", tags=("a", "b"))

    assert store.apply([settled(job, DONE), settled(job, DONE)]) == [True, False]

    (delivery,) = made(store)
    payload = json.loads(delivery.payload)
    assert (delivery.task, delivery.priority, delivery.status, delivery.max_retries) == ("webhook", 0, Status.PENDING, 9)
    assert payload["event"] == {
        "type": "job.completed", "timestamp": "2026-01-04T02:04:30.123Z",
        "data": {
            "job_id": job.job_id, "task": "draw", "queue": "default", "status": "completed", "attempt": 1, "epoch": 3,
            "error": None, "tags": ["a", "b"], "group": None, "schedule": None, "fire_at": None,
            "finished_at": "2026-01-04T02:04:30.123Z",
        },
    }  # fmt: skip
    assert SECRET not in delivery.payload.decode() and "example.org" not in delivery.payload.decode()
    assert store.counts()[Status.PENDING] == 1


@pytest.mark.parametrize(
    ("change", "types"),
    [
        (lambda job: settled(job, WRONG), ["job.retried"]),
        (lambda job: settled(msgspec.structs.replace(job, max_retries=0), WRONG), ["job.failed"]),
        (lambda job: lifecycle.recover(job, now=LATER, max_lost=5), ["job.lost"]),
        (lambda job: lifecycle.recover(job, now=LATER, max_lost=1), ["job.failed", "job.lost"]),
        (lambda job: lifecycle.cancel(job, now=LATER), []),
        (lambda job: lifecycle.return_unstarted(job, now=LATER), []),
        (lambda job: settled(job, Outcome(status=ExecutionStatus.CANCELLED)), ["job.cancelled"]),
    ],
)  # fmt: skip
def test_what_happens_to_a_running_job_is_told(store: Store, change: Any, types: list[str]) -> None:
    put(store)
    job = running(store)

    assert store.apply([change(job)]) == [True]

    assert [kind for _, kind in told(store)] == types


def test_the_cancellation_of_a_job_that_waits_is_told(store: Store) -> None:
    put(store)
    job = a_job()
    store.insert([[job]])

    store.apply([lifecycle.cancel(job, now=LATER)])

    assert told(store) == [("all", "job.cancelled")]


def test_jobs_that_hooks_made_trigger_none(store: Store) -> None:
    put(store)
    store.apply([settled(running(store), DONE)])
    (delivery,) = store.claim_due(owner=WATCHER, now=LATER, lease_s=30, allocation=AllAt()).jobs

    store.apply([lifecycle.settle(delivery, DONE, now=LATER, retry_base_s=1)])

    assert len(made(store)) == 1


def test_many_changes_in_one_commit_make_one_delivery_each(store: Store) -> None:
    put(store, filter={"tag": ["a"]}, include=("result",))
    jobs = [running(store, tags=tags) for tags in (("a",), ("b",), ("a", "b"))]

    assert store.apply([settled(job, DONE) for job in jobs]) == [True] * 3

    deliveries = made(store)
    assert len(deliveries) == 2
    assert {json.loads(one.payload)["event"]["data"]["result"]["x"] for one in deliveries} == {1}
    assert store.counts()[Status.PENDING] == 2


def test_a_hook_with_a_job_submits_it_with_the_event_in_its_payload(store: Store) -> None:
    put(store, url=None, job={"task": "alert"}, template=a_job(task="alert", payload=b'{"to": "ann"}', queue="mail"))

    store.apply([settled(running(store), DONE)])

    (job,) = made(store)
    payload = json.loads(job.payload)
    assert (job.task, job.queue, payload["to"], payload["event"]["type"]) == ("alert", "mail", "ann", "job.completed")
    assert (job.created_at, job.scheduled_at) == (LATER, LATER)


def test_a_hook_that_another_process_has_stored_is_heeded(open_another: Open) -> None:
    one, other = open_another(), open_another()
    job, second = running(one), running(one)
    put(other)
    one.apply([settled(job, DONE)])
    other.apply([settled(second, DONE)])

    assert ("all", "job.completed") in told(one)


# ---- the end of a group


def test_the_end_of_a_group_is_told_once(store: Store) -> None:
    put(store, "g", events=(GROUP_ENDED,), filter={"group": "b"})
    put(store, "task", events=(GROUP_ENDED,), filter={"task": "echo"})
    store.insert([[a_job(group="b"), a_job(group="b"), a_job(group="c"), a_job()]])
    jobs = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt()).jobs
    first, *others = (settled(job, DONE) for job in jobs)

    store.apply([first])
    before = made(store)
    store.apply(others)

    assert before == []
    (job,) = made(store)
    event = json.loads(job.payload)["event"]
    assert event["type"] == "group.ended" and event["data"] == {"group": "b", "ended_at": event["timestamp"]}


def test_members_that_end_in_one_commit_or_at_two_hosts_are_one_end_and_a_group_that_lives_again_ends_again(
    store: Store, open_another: Open
) -> None:
    put(store, "g", events=(GROUP_ENDED,))
    store.insert([[a_job(group="b"), a_job(group="b")]])
    one, two = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt()).jobs

    store.apply([settled(one, DONE), settled(two, msgspec.structs.replace(WRONG, unrecoverable=True))])
    open_another().apply([settled(one, DONE)])  # it has ended already
    again = store.find([two.job_id])[0]
    assert again is not None and len(made(store)) == 1

    store.apply([lifecycle.retry(again, now=LATER)])
    cancelled = store.find([two.job_id])[0]
    assert cancelled is not None
    store.apply([lifecycle.cancel(cancelled, now=LATER + timedelta(seconds=1))])

    assert len(made(store)) == 2


# ---- missed fires


def test_what_a_look_at_a_schedule_has_missed_is_told_by_reason(store: Store) -> None:
    put(store, "m", events=(MISSED,), filter={"task": "echo", "tag": ["t"], "schedule": "s"})
    put(store, "other", events=(MISSED,), filter={"queue": "mail"})
    assert store.schedules.save(a_schedule(), was=None)

    assert look(store, after_s=60) == []
    missed = look(store, after_s=5 * 60)
    again = look(store, after_s=5 * 60)

    (job,) = missed
    event = json.loads(job.payload)["event"]
    assert (event["type"], again) == ("schedule.missed", missed)
    assert event["data"] == {
        "schedule": "s", "reason": "catch_up", "count": 3, "fire_at": rfc3339(START + timedelta(seconds=4 * 60)), "task": "echo",
        "queue": "default", "tags": ["t"],
    }  # fmt: skip


def test_a_pause_is_no_news(store: Store) -> None:
    put(store, "m", events=(MISSED,))
    assert store.schedules.save(msgspec.structs.replace(a_schedule(), paused=Paused(by="api", since=START)), was=None)

    assert look(store, after_s=5 * 60) == []


def a_schedule() -> Schedule:
    timing = Timing(every_s=60, starts_at=START)
    asked = Definition(timing=timing, job={"task": "echo"}, overlap=ALLOW)
    return Schedule(name="s", asked=asked, next_fire_at=START + timedelta(seconds=60))


def look(store: Store, *, after_s: float) -> list[Job]:
    """Look at what is due then; all deliveries so far."""
    now = START + timedelta(seconds=after_s)

    def decide(schedule: Schedule, living: Sequence[Job], known: Made) -> Look | None:
        seen = look_at(schedule, now=now, living=living, room=9, make=lambda one, at: a_job(schedule="s", tags=("t",)), made=known)
        if seen is not None:
            seen.sample = a_job(schedule="s", tags=("t",))
        return seen

    store.schedules.fire_due(decide, now=now, limit=9)
    return made(store)
