"""What a task's declaration makes of its arguments, its result and its failures, with real children."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobyard import Retry, task
from jobyard.engine.jobs.job import ExecutionStatus, Status
from tests.support.shop import Shop


@dataclass
class Box:
    path: Path
    price: Decimal


@task("options.pack")
def pack(*, box: Box, at: datetime, count: int = 2) -> dict[str, Any]:
    assert isinstance(box.path, Path) and isinstance(at, datetime)
    return {"box": box, "at": at, "count": count}


@task("options.nothing")
def nothing() -> str:
    return "ran"


@task("options.unstorable")
def unstorable(payload: int) -> Any:
    return {"rows": [{"value": (2**63, {1}, float("nan"), {1: "a", "1": "b"})[payload]}]}


@task("options.picky", retry_on=(ConnectionError, TimeoutError), discard_on=(BrokenPipeError,), retry_base_s=7, retry_max_s=20)
def picky(payload: str) -> None:
    errors = {"reset": ConnectionResetError(), "broken": BrokenPipeError(), "other": KeyError(), "retry": Retry()}
    raise errors[payload]


@task("options.discarding", discard_on=KeyError)
def discarding(payload: str) -> None:
    raise KeyError(payload) if payload == "key" else ValueError(payload)


@task("options.slow", timeout_s=0.2, retry_on=ConnectionError)
def slow() -> None:
    time.sleep(60)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    tasks = {task.name: task for task in (pack, nothing, unstorable, picky, discarding, slow)}
    shop = Shop(tmp_path, tasks)
    yield shop
    shop.close()


def test_fields_are_converted_and_the_result_becomes_json_text(shop: Shop) -> None:
    job = shop.run("options.pack", b'{"box": {"path": "a/b", "price": "1.50"}, "at": "2026-01-04T02:04:20Z"}')

    assert job.status is Status.COMPLETED
    assert job.result == b'{"box":{"path":"a/b","price":"1.50"},"at":"2026-01-04T02:04:20Z","count":2}'
    assert datetime(2026, 1, 4, 2, 4, 20, tzinfo=UTC).isoformat() == "2026-01-04T02:04:20+00:00"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"{}", "box: missing; at: missing"),
        (b'{"box": {"path": "a", "price": "x"}, "at": "2026-01-04T02:04:20Z"}', "box.price: invalid decimal string"),
        (b'{"box": {"path": "a", "price": "1"}, "at": "2026-01-04T02:04:20Z", "count": "2"}', "count: expected int, got str"),
        (b'{"box": {"path": "a", "price": "1"}, "at": "2026-01-04T02:04:20Z", "kount": 2}', "kount: unknown"),
        (b"[1]", "must be an object with the fields box, at, count"),
    ],
)  # fmt: skip
def test_a_payload_that_does_not_fit_fails_at_once_and_for_good(shop: Shop, payload: bytes, words: str) -> None:
    job = shop.run("options.pack", payload, max_retries=5)

    assert (job.status, job.attempt) == (Status.FAILED, 1)
    assert (job.error or "").startswith("WrongArguments: ") and words in (job.error or "")


def test_a_task_without_parameters_gets_nothing(shop: Shop) -> None:
    assert [shop.run("options.nothing", payload).result for payload in (b"null", b'{"a": 1}')] == [b'"ran"'] * 2


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"0", "result.rows[0].value: the integer does not fit in 64 bits"),
        (b"1", "result.rows[0].value: set has no JSON form"),
        (b"2", "result.rows[0].value: nan is not a JSON number"),
        (b"3", "result.rows[0].value: the name '1' occurs twice"),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_stored_is_not_worked_out_again(shop: Shop, payload: bytes, words: str) -> None:
    job = shop.run("options.unstorable", payload, max_retries=5)

    assert (job.status, job.attempt, job.error) == (Status.FAILED, 1, f"its result is not JSON: {words}")


@pytest.mark.parametrize(
    ("name", "payload", "status"),
    [
        ("options.picky", b'"reset"', Status.PENDING), ("options.picky", b'"broken"', Status.FAILED),
        ("options.picky", b'"other"', Status.FAILED), ("options.picky", b'"retry"', Status.PENDING),
        ("options.discarding", b'"key"', Status.FAILED), ("options.discarding", b'"other"', Status.PENDING),
    ],
)  # fmt: skip
def test_only_exceptions_that_are_worth_it_are_tried_again(shop: Shop, name: str, payload: bytes, status: Status) -> None:
    assert shop.run(name, payload, max_retries=5).status is status


@pytest.mark.parametrize(("retry_count", "wait_s"), [(0, 7), (1, 20), (2, 20)])
def test_the_tasks_own_delays_are_kept_to(shop: Shop, retry_count: int, wait_s: float) -> None:
    job = shop.run("options.picky", b'"reset"', max_retries=5, retry_count=retry_count)

    ended = shop.execution(job).finished_at
    assert ended is not None and (job.scheduled_at - ended).total_seconds() == wait_s


def test_a_timeout_is_tried_again_only_where_retry_on_includes_it(shop: Shop) -> None:
    job = shop.run("options.slow", timeout_s=0.2, max_retries=5)

    assert (job.status, shop.execution(job).status) == (Status.FAILED, ExecutionStatus.TIMEOUT)
