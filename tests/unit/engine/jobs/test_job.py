"""The nouns in their shown form, and waits in milliseconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobyard.engine.jobs.job import Execution, ExecutionStatus, Status, at_least, execution_to_json, ticket_for, to_json
from jobyard.engine.timestamps import rfc3339
from tests.support.builders import a_job
from tests.support.world import START


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (START, "2026-01-04T02:04:20.123Z"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T00:00:00.000Z"),
        (None, None),
    ],
)
def test_times_are_shown_in_utc_with_milliseconds(at: datetime | None, text: str | None) -> None:
    assert rfc3339(at) == text


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0, 0), (1.1, 1100), (2.3, 2300), (0.0001, 1), (0.0015, 2), (0.063, 63), (1e-12, 0), (315_360_000, 315_360_000_000)],
)
def test_a_wait_is_rounded_up_but_not_for_the_noise_of_floats(seconds: float, milliseconds: int) -> None:
    assert at_least(seconds) == timedelta(milliseconds=milliseconds)


def test_payload_and_result_are_shown_byte_for_byte() -> None:
    shown = to_json(a_job(status=Status.COMPLETED, payload=b'{"b": 1.0,  "a":1e2}', result=b"[1, 2]"))

    assert b'"payload":{"b": 1.0,  "a":1e2},' in shown
    assert b'"result":[1, 2],' in shown


@pytest.mark.parametrize(("timeout_s", "shown"), [(3600.0, b"3600,"), (0.5, b"0.5,"), (5e-324, b"5e-324,")])
def test_whole_seconds_are_shown_whole(timeout_s: float, shown: bytes) -> None:
    assert b'"timeout_s":' + shown in to_json(a_job(timeout_s=timeout_s))


def test_what_is_ours_alone_is_never_shown() -> None:
    shown = json.loads(to_json(a_job(request_digest=b"d", cancel_requested_at=START)))

    assert not {"request_digest", "cancel_requested_at"} & shown.keys()


def test_an_execution_is_shown_as_the_contract_says() -> None:
    execution = Execution(
        execution_id="j-1", job_id="j", attempt=1, worker_id="w", status=ExecutionStatus.RUNNING, started_at=START
    )  # fmt: skip

    assert json.loads(execution_to_json(execution)) == {
        "execution_id": "j-1", "job_id": "j", "attempt": 1, "worker_id": "w", "status": "running",
        "started_at": "2026-01-04T02:04:20.123Z", "finished_at": None, "duration_ms": None, "error_message": None,
        "traceback": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "holder"),
    [(Status.PENDING, None), (Status.CLAIMED, "watcher-9001"), (Status.QUEUED, "watcher-9001"), (Status.RUNNING, "worker-7001")],
)
def test_the_holder_is_the_worker_that_runs_it_or_the_watcher_that_claimed_it(status: Status, holder: str | None) -> None:
    found = a_job(status=status).holder

    assert (found and found.split(":")[2]) == holder


def test_a_ticket_carries_what_orders_and_shows_a_job_and_its_epoch() -> None:
    job = a_job(status=Status.QUEUED, priority=9, epoch=7, attempt=2, queue="q")

    ticket = ticket_for(job)

    assert all(getattr(ticket, name) == getattr(job, name) for name in ticket.__struct_fields__)
