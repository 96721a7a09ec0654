"""`chain`, `group` and `then`: which jobs they submit, and what these wait for."""

from __future__ import annotations

from typing import Any

import pytest

from jobyard import UnsentJob, chain, group, task


@task("workflow.step")
def step(payload: Any) -> Any:
    return payload


@task("workflow.named")
def named(*, path: str, width: int = 100) -> str:
    return path


def waits(jobs: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    return [(job.get("ref"), job.get("after")) for job in jobs]


def test_a_job_takes_what_submit_takes() -> None:
    assert step.job(1, priority="high", ref="a").fields == {
        "task": "workflow.step", "payload": 1, "priority": "high", "ref": "a",
    }  # fmt: skip
    assert named.options(delay_s=5).job(path="x").fields == {"task": "workflow.named", "payload": {"path": "x"}, "delay_s": 5}
    with pytest.raises(TypeError):
        named.job(width=3)


def test_in_a_chain_each_waits_for_the_one_before() -> None:
    jobs = chain(step.job(1), step.job(2, ref="two"), step.job(3, run_if="ended")).jobs()

    assert waits(jobs) == [("1", None), ("two", ["1"]), (None, ["two"])]
    assert [job.get("run_if") for job in jobs] == [None, None, "ended"]


def test_what_follows_a_group_waits_for_the_group() -> None:
    jobs = group("g", [step.job(1), step.job(2)]).then(step.job(3), run_if="ended").jobs()

    assert waits(jobs) == [(None, None), (None, None), (None, [{"group": "g"}])]
    assert [job.get("group") for job in jobs] == ["g", "g", None]
    assert jobs[2]["run_if"] == "ended"


def test_workflows_are_made_of_workflows() -> None:
    lanes = group("g", [chain(step.job(1), step.job(2)), step.job(3)])

    jobs = chain(step.job(0), lanes, step.job(4)).then(step.job(5)).jobs()

    assert waits(jobs) == [
        ("1", None), ("2", ["1"]), (None, ["2"]), (None, ["1"]), ("5", [{"group": "g"}]), (None, ["5"]),
    ]  # fmt: skip


def test_a_ref_of_ones_own_is_never_taken_for_a_number() -> None:
    jobs = chain(step.job(1), step.job(2, ref="1"), step.job(3)).jobs()

    assert waits(jobs) == [("1'", None), ("1", ["1'"]), (None, ["1"])]


def test_what_a_job_itself_waits_for_is_waited_for_besides() -> None:
    jobs = chain(step.job(1), step.job(2, after=["6b04af6d98fafe38214255d4"])).jobs()

    assert jobs[1]["after"] == ["1", "6b04af6d98fafe38214255d4"]


def test_a_workflow_can_be_used_twice() -> None:
    twice = chain(step.job(1), step.job(2))

    assert waits(chain(twice, twice).jobs()) == [("1", None), ("2", ["1"]), ("3", ["2"]), (None, ["3"])]


@pytest.mark.parametrize("wrong", [lambda: chain(), lambda: group("g", []), lambda: group("g", [group("h", [step.job(1)])])])
def test_what_is_no_workflow_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()


def test_only_jobs_and_workflows_are_parts() -> None:
    with pytest.raises(TypeError):
        chain(step)  # type: ignore[arg-type]
    assert isinstance(step.job(None), UnsentJob)
