"""What HTTP workers may ask and tell: every bound from both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobyard.engine.errors import InvalidRequest, TooLarge
from jobyard.engine.leases.requests import MAX_RESULT_BYTES, Do, Told, default_lease_s, read_lease, read_settle, read_told

JOB = "0" * 24
ASKED = {"worker": "w", "tasks": ["t"]}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refusal(do: Do, **fields: Any) -> tuple[str, str | None]:
    with pytest.raises((InvalidRequest, TooLarge)) as wrong:
        read_told(do, JOB, body(**fields))
    return wrong.value.code, wrong.value.field


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("worker", ["x", "é" * 128, "a b"], ["", "x" * 129, "a\nb", 7, None]),
        ("tasks", [["t"], ["t"] * 100], [[], ["t"] * 101, "t", [""], [7], None]),
        ("queues", [["mail"], None, ["q"] * 100], [[], ["a b"], ["x" * 65], "mail", ["é"]]),
        ("count", [1, 100, 2.0, None], [0, 101, 1.5, True, "1"]),
        ("lease_s", [5, 3600, 7.5, None], [4.9, 3600.1, "5", True]),
        ("wait_s", [0, 60, 0.5, None], [-0.1, 60.1, "1", False]),
    ],
)
def test_a_lease_request_has_bounds(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        read_lease(body(**{**ASKED, field: value}), lease_s=30)
    for value in bad:
        with pytest.raises(InvalidRequest) as wrong:
            read_lease(body(**{**ASKED, field: value}), lease_s=30)
        assert (wrong.value.code, wrong.value.field) == ("invalid_field", field), value


def test_what_a_lease_request_leaves_out_has_defaults() -> None:
    wanted = read_lease(body(worker="w", tasks=["b", "a", "b"]), lease_s=2)

    assert (wanted.tasks, wanted.queues, wanted.count, wanted.lease_s, wanted.wait_s) == (("a", "b"), None, 1, 5, 0)


@pytest.mark.parametrize(("setting", "default"), [(1, 5), (30, 30), (86400, 3600)])
def test_the_default_of_a_lease_is_the_setting_within_the_bounds(setting: float, default: float) -> None:
    assert default_lease_s(setting) == default


@pytest.mark.parametrize(
    ("do", "field", "good", "bad"),
    [
        (Do.EXTEND, "epoch", [0, 2.0], [-1, "1", None, True]),
        (Do.EXTEND, "lease_s", [5, 3600], [4, 3601]),
        (Do.EXTEND, "progress", [{"fraction": 0}, {"note": "x" * 200}, {"fraction": 1, "note": ""}, None],
         [{}, {"fraction": 1.1}, {"fraction": -1}, {"note": "x" * 201}, {"note": 7}, {"other": 1}, 0.5]),
        (Do.EXTEND, "output", ["", "x" * 70_000, None], [7]),
        (Do.FAIL, "error", ["", None, "x" * 9_000], [7]),
        (Do.FAIL, "traceback", ["", None], [[]]),
        (Do.FAIL, "retry_delay_s", [0, 315_360_000], [-1, 315_360_001, "1"]),
        (Do.FAIL, "unrecoverable", [True, False, None], [1, "true"]),
        (Do.FAIL, "cancelled", [True, None], [0]),
        (Do.RELEASE, "delay_s", [0, 315_360_000, None], [-1, 315_360_001]),
    ],
)  # fmt: skip
def test_what_a_worker_tells_has_bounds(do: Do, field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        read_told(do, JOB, body(**{"epoch": 1, field: value}))
    for value in bad:
        assert refusal(do, **{"epoch": 1, field: value}) == ("invalid_field", field), value


def test_fields_of_another_request_are_unknown() -> None:
    assert refusal(Do.FAIL, epoch=1, result=1) == ("unknown_field", "result")
    assert refusal(Do.COMPLETE, epoch=1, error="e") == ("unknown_field", "error")
    assert refusal(Do.RELEASE, epoch=1, output="o") == ("unknown_field", "output")
    assert refusal(Do.COMPLETE) == ("invalid_field", "epoch")


def test_a_result_is_kept_byte_for_byte_up_to_a_size_and_a_depth() -> None:
    assert read_told(Do.COMPLETE, JOB, b'{"epoch": 1, "result": {"b": 1.0,  "a": 2}}').result == b'{"b": 1.0,  "a": 2}'
    assert read_told(Do.COMPLETE, JOB, b'{"epoch": 1}').result == b"null"
    read_told(Do.COMPLETE, JOB, body(epoch=1, result="x" * (MAX_RESULT_BYTES - 2)))
    assert refusal(Do.COMPLETE, epoch=1, result="x" * (MAX_RESULT_BYTES - 1)) == ("payload_too_large", "result")
    with pytest.raises(InvalidRequest):
        read_told(Do.COMPLETE, JOB, b'{"epoch": 1, "result": ' + b"[" * 101 + b"]" * 101 + b"}")


def test_each_item_of_many_is_told_or_has_its_own_error() -> None:
    items = [
        {"job_id": JOB, "epoch": 1, "do": "complete", "result": 1},
        {"job_id": JOB, "do": "extend"},
        {"job_id": JOB, "epoch": 1, "do": "dance"},
    ]

    told, no_epoch, no_do = read_settle(json.dumps(items).encode())

    assert told == Told(job_id=JOB, epoch=1, do=Do.COMPLETE, result=b"1")
    assert isinstance(no_epoch, tuple) and isinstance(no_do, tuple)
    assert (no_epoch[1].field, no_do[1].field) == ("epoch", "do")


@pytest.mark.parametrize(
    ("items", "code", "field"),
    [
        ({}, "invalid_json", None), ([1], "invalid_json", "[0]"), ([{}], "invalid_job_id", "[0].job_id"),
        ([{"job_id": "x"}], "invalid_job_id", "[0].job_id"), ([{"job_id": JOB}] * 1001, "invalid_field", None),
    ],
)  # fmt: skip
def test_what_is_no_array_of_told_jobs_is_refused(items: object, code: str, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        read_settle(json.dumps(items).encode())

    assert (wrong.value.code, wrong.value.field) == (code, field)


def test_a_thousand_items_are_not_too_many() -> None:
    assert len(read_settle(json.dumps([{"job_id": JOB}] * 1000).encode())) == 1000
