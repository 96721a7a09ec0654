"""T1: a request is stored whole or not at all, and once however often it comes."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import CancelledBecause, Dependency, Job, JobFilter, Status, Unique
from jobyard.engine.limits.rules import lane_for
from jobyard.engine.store.port import Abandoned, Inserted, Insertion, KeyTaken, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.world import START


def keyed(key: str, body: bytes = b"body", **fields: object) -> Job:
    return a_job(idempotency_key=key, request_digest=body, **fields)


def test_a_stored_job_comes_back_as_it_was(store: Store) -> None:
    job = a_job(
        payload=b'{"a" : [1.0, 1e5, "\\u0000\\u00e9"]}', scheduled_at=datetime(2026, 2, 3, 4, 5, 6, 7000, tzinfo=UTC), priority=9,
        queue="mail", max_retries=0, timeout_s=0.25, idempotency_key="k", request_digest=b"\x00\xff",
    )  # fmt: skip

    store.insert([[job]])

    assert store.find([job.job_id]) == [job]


@pytest.mark.parametrize("year", [1, 1969, 2038, 9999])
def test_far_times_are_kept_to_the_millisecond(store: Store, year: int) -> None:
    job = a_job(scheduled_at=datetime(year, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))

    store.insert([[job]])

    assert store.find([job.job_id]) == [job]


def test_ids_are_answered_in_the_order_of_the_jobs(store: Store) -> None:
    first, second = [a_job(), a_job()], [a_job()]

    answers = store.insert([first, second])

    assert answers == [Inserted(job_ids=[job.job_id for job in first]), Inserted(job_ids=[second[0].job_id])]


def test_what_became_of_them_is_heard_once_it_can_be_seen(store: Store, open_another: Open) -> None:
    job, other = a_job(), a_job()
    another = open_another()
    heard: list[tuple[list[Insertion], list[Job | None]]] = []

    answers = store.insert(
        [[job], [other]], abandoned=lambda number: number == 1,
        seen=lambda insertions: heard.append((insertions, another.find([job.job_id]))),
    )  # fmt: skip

    assert heard == [(answers, [job])]
    assert answers == [Inserted(job_ids=[job.job_id]), Abandoned()]


def test_an_empty_request_stores_nothing_and_is_fine(store: Store) -> None:
    assert store.insert([[]]) == [Inserted(job_ids=[])]


def test_the_same_request_come_again_stores_one_job(store: Store, open_another: Open) -> None:
    job = a_job()
    store.insert([[job]])

    answer = open_another().insert([[job]])

    assert answer == [Inserted(job_ids=[job.job_id])]
    assert store.counts()[Status.PENDING] == 1


def test_the_same_keyed_request_come_again_is_no_repetition_of_another(store: Store) -> None:
    job = keyed("k")
    store.insert([[job]])

    assert store.insert([[job]]) == [Inserted(job_ids=[job.job_id], repeated=0)]


def test_a_known_key_with_the_same_body_is_answered_with_the_first_job(store: Store) -> None:
    first = keyed("k")
    store.insert([[first]])

    answer = store.insert([[keyed("k")]])

    assert answer == [Inserted(job_ids=[first.job_id], repeated=1)]
    assert store.counts()[Status.PENDING] == 1


def test_a_known_key_with_another_body_refuses_its_whole_request(store: Store) -> None:
    first = keyed("k")
    store.insert([[first]])
    innocent = a_job()

    answers = store.insert([[innocent, keyed("k", b"other")], [a_job()]])

    assert answers[0] == KeyTaken(index=1, job_id=first.job_id)
    assert isinstance(answers[1], Inserted)
    assert store.find([innocent.job_id]) == [None]


def test_keys_hold_between_the_jobs_of_one_call(store: Store) -> None:
    first = keyed("k")

    answers = store.insert([[first, keyed("k")], [keyed("k")], [keyed("k", b"other")]])

    assert answers[:2] == [Inserted(job_ids=[first.job_id] * 2, repeated=1), Inserted(job_ids=[first.job_id], repeated=1)]
    assert isinstance(answers[2], KeyTaken)
    assert store.counts()[Status.PENDING] == 1


def test_two_different_bodies_of_one_key_in_one_request_store_nothing(store: Store) -> None:
    answer = store.insert([[keyed("k"), keyed("k", b"other")]])

    assert isinstance(answer[0], KeyTaken) and answer[0].index == 1
    assert store.counts()[Status.PENDING] == 0


def test_an_abandoned_request_is_not_stored_and_hurts_no_other(store: Store) -> None:
    late, waiting = a_job(), a_job()

    answers = store.insert([[late], [waiting]], abandoned=lambda number: number == 0)

    assert answers == [Abandoned(), Inserted(job_ids=[waiting.job_id])]
    assert store.find([late.job_id, waiting.job_id]) == [None, waiting]


def test_a_request_whose_key_is_known_is_answered_though_it_is_abandoned(store: Store) -> None:
    first, again, other = keyed("k"), keyed("k"), keyed("new")
    store.insert([[first]])

    answers = store.insert([[again], [again, other]], abandoned=lambda number: True)

    assert answers == [Inserted(job_ids=[first.job_id], repeated=1), Abandoned()]
    assert store.find([other.job_id]) == [None]


EVERYTHING = {
    "unique_key": "echo/k", "held_key": "echo/k", "held_until": START, "limit": ("stripe", "customer/7"), "run_if": "ended",
    "unique": Unique(until="begun", for_s=1.5, on_conflict="replace", at_latest_s=2.5), "ref": "r", "group": "g",
    "after": (Dependency(job_id="ab" * 12, ref="a"), Dependency(group="h")), "schedule": "nightly", "fire_at": START,
    "lane": '["schedule:nightly"]', "expires_s": 60.0, "expires_at": START, "lapses_at": START,
    "cancelled_because": CancelledBecause(reason="limit_full", limit="stripe"), "traceparent": "00-a-b-01", "tracestate": "x=y",
    "tags": ("a", "b"),
}  # fmt: skip


INSERTED = {name: value for name, value in EVERYTHING.items() if name not in ("after", "group", "run_if", "ref")}
"""What a job of a workflow has besides is decided when it is accepted."""


@pytest.mark.parametrize("name", [*INSERTED, "everything"])
def test_what_few_jobs_have_is_stored_as_it_was(store: Store, name: str) -> None:
    fields = INSERTED if name == "everything" else {name: INSERTED[name]}
    plain, job = a_job(), a_job(**fields)

    store.insert([[plain, job]])

    job = msgspec.structs.replace(job, lane=lane_for(job, ()) if job.after is None else job.lane)
    assert store.find([plain.job_id, job.job_id]) == [plain, job]
    assert store.list_jobs(JobFilter(), limit=5, whole=False).jobs == [job, plain]


def test_a_change_of_what_few_jobs_have_is_stored(store: Store) -> None:
    job = a_job(status=Status.BLOCKED, **INSERTED)
    store.insert([[job]])
    new = {**dict.fromkeys(EVERYTHING), "tags": (), "tracestate": "z", "group": "h", "priority": 7}
    cancelled = lifecycle.cancel(job, now=START)
    change = msgspec.structs.replace(cancelled, fields={**cancelled.fields, **new})

    assert store.apply([change]) == [True]
    assert store.find([job.job_id]) == [change.after(job)]


def test_a_blocked_job_is_counted_and_not_claimed(store: Store) -> None:
    job = a_job(status=Status.BLOCKED)
    store.insert([[job]])

    assert (store.counts()[Status.BLOCKED], store.counts()[Status.PENDING]) == (1, 0)
    assert claim(store) == []
    assert store.next_due() is None and store.ended([job.job_id]) == []


def test_unknown_ids_are_answered_in_their_places(store: Store) -> None:
    job = a_job()
    store.insert([[job]])

    assert store.find(["f" * 24, job.job_id, "e" * 24]) == [None, job, None]
