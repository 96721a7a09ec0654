"""`ref`, `after`, `run_if` and `group` of a new job: read, resolved, refused by name."""

from __future__ import annotations

import json

import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.dependency_fields import MAX_EDGES
from jobyard.engine.jobs.job import Dependency, Job
from jobyard.engine.jobs.submission import Defaults, TaskDefaults, parse
from tests.support.world import START

DEFAULTS = Defaults(max_retries=5, timeout_s=3600, tasks={"echo": TaskDefaults()})
ID = "6b04af6d98fafe38214255d4"


def batch(*jobs: dict[str, object]) -> list[Job]:
    body = json.dumps({"jobs": jobs}).encode()
    return parse("batch", body, first_id="0" * 24, idempotency_key=None, now=START, defaults=DEFAULTS)


def one(**fields: object) -> Job:
    (job,) = parse("job", json.dumps(fields).encode(), first_id="0" * 24, idempotency_key=None, now=START, defaults=DEFAULTS)
    return job


def refusal(*jobs: dict[str, object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as told:
        batch(*jobs) if len(jobs) > 1 else one(**jobs[0])
    return told.value


def test_a_text_that_is_a_ref_of_the_batch_is_that_job_and_any_other_an_id() -> None:
    first, _, third = batch({"ref": "a"}, {"ref": ID}, {"after": ["a", ID, "7" * 24, {"group": "g"}]})

    own, by_id, other, group = third.after or ()
    assert (own.job_id, own.ref) == (first.job_id, "a")
    assert (by_id.ref, other, group) == (ID, Dependency(job_id="7" * 24), Dependency(group="g"))


def test_a_ref_may_be_used_before_it_is_given() -> None:
    first, second = batch({"after": ["b"]}, {"ref": "b"})

    assert first.after == (Dependency(job_id=second.job_id, ref="b"),)


def test_run_if_is_completed_unless_said_otherwise() -> None:
    assert (one(after=[ID]).run_if, one(after=[ID], run_if="ended").run_if, one().run_if) == ("completed", "ended", None)


@pytest.mark.parametrize("fields", [{"after": None}, {"after": []}, {"after": None, "run_if": None, "group": None, "ref": None}])
def test_nothing_to_wait_for_is_left_out(fields: dict[str, object]) -> None:
    assert (one(**fields).after, one(**fields).run_if) == (None, None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"after": ID}, "after"), ({"after": [1]}, "after"), ({"after": [""]}, "after"), ({"after": [{"group": "a b"}]}, "after"),
        ({"after": [{"group": "g", "x": 1}]}, "after"), ({"after": [ID, ID]}, "after"), ({"after": [{"group": "g"}] * 2}, "after"),
        ({"after": [f"{n}" for n in range(1001)]}, "after"), ({"after": [ID], "run_if": "done"}, "run_if"),
        ({"run_if": "ended"}, "run_if"), ({"after": [], "run_if": "ended"}, "run_if"),
        ({"group": ""}, "group"), ({"group": "x" * 129}, "group"), ({"group": "a/b"}, "group"), ({"group": 1}, "group"),
        ({"ref": "a"}, "ref"), ({"ref": ""}, "ref"), ({"ref": "x" * 65}, "ref"),
        ({"after": [ID], "unique": {"until": "begun", "on_conflict": "replace"}}, "unique"),
        ({"group": "g", "unique": {"until": "begun", "on_conflict": "replace"}}, "unique"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_name(fields: dict[str, object], field: str) -> None:
    told = refusal(fields)

    assert (told.code, told.field) == ("invalid_field", field)


def test_the_most_that_a_job_may_wait_for_is_a_thousand() -> None:
    assert len(one(after=[f"{number}" for number in range(1000)]).after or ()) == 1000


def test_a_ref_is_unique_in_its_batch() -> None:
    told = refusal({"ref": "a"}, {}, {"ref": "a"})

    assert (told.code, told.field) == ("invalid_field", "jobs[2].ref")


def test_too_many_edges_are_refused_with_a_hint_to_groups() -> None:
    after = [f"{number}" for number in range(1000)]
    jobs: list[dict[str, object]] = [{"after": after} for _ in range(MAX_EDGES // 1000)]
    assert len(batch(*jobs)) == 10

    told = refusal(*jobs, {"after": ["x"]})

    assert (told.code, told.field) == ("too_many_edges", "jobs")
    assert "group" in told.message


def test_an_idempotency_key_compares_what_is_waited_for() -> None:
    same = [one(idempotency_key="k", after=[ID], **more).request_digest for more in ({}, {"run_if": None}, {"group": None})]
    other = one(idempotency_key="k", after=[ID], run_if="ended").request_digest

    assert len({digest and digest[:16] for digest in same}) == 1
    assert other is not None and same[0] is not None and other[:16] != same[0][:16]
