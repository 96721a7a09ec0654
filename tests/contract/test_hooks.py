"""Every event that a hook selects makes exactly one delivery job, in whatever store."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from jobyard.engine.hooks.events import is_from_hook
from jobyard.engine.hooks.hook import EVENTS, Disabled, Hook
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
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
