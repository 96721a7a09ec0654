"""The commands that change something: what they send, and what they ask first."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from jobyard.api.commands import exits
from tests.unit.api.commands.conftest import FakeService

ID = "a" * 24


def accepted(*job_ids: str) -> httpx.Response:
    return httpx.Response(201, json={"job_ids": list(job_ids)})


def test_submit_sends_what_the_options_say_and_prints_the_id(service: FakeService) -> None:
    service.on("POST /api/jobs", httpx.Response(201, json={"job_id": ID}))

    submitted = service.run(
        "submit", "resize", "--payload", '{"a": 1}', "--delay", "2m", "--priority", "high", "--max-retries", "2", "--timeout",
        "1.5h", "--key", "k",
    )  # fmt: skip

    assert (submitted.stdout, submitted.exit_code) == (f"{ID}\n", exits.OK)
    assert service.sent() == {
        "task": "resize", "payload": {"a": 1}, "delay_s": 120.0, "priority": "high", "max_retries": 2, "timeout_s": 5400.0,
        "idempotency_key": "k",
    }  # fmt: skip


@pytest.mark.parametrize("source", ["@payload.json", "-"])
def test_a_payload_comes_from_a_file_or_from_stdin(service: FakeService, tmp_path: Path, source: str) -> None:
    service.on("POST /api/jobs", httpx.Response(201, json={"job_id": ID}))
    (tmp_path / "payload.json").write_text("[1]")
    words = source.replace("@", f"@{tmp_path}/")

    service.run("submit", "--payload", words, "--json", stdin="[1]")

    assert service.sent()["payload"] == [1]


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "--payload", "text"), ("submit", "--payload", "@/no/such/file"), ("submit", "--delay", "soon"),
        ("submit", "--file", "x", "--payload", "1"), ("submit", "--file", "/no/such/file"), ("cancel",),
        ("retry", ID, "--task", "x"), ("list", "--status", "lost"), ("wait",),
        ("stats", "--token-file", "/no/such/file"), ("stats", "--url", "ftp://x"),
    ],
)  # fmt: skip
def test_incorrect_usage_ends_with_status_2_and_sends_no_request(service: FakeService, words: tuple[str, ...]) -> None:
    ended = service.run(*words)

    assert (ended.exit_code, service.requests) == (exits.USAGE, [])


def test_named_jobs_are_changed_one_by_one_even_if_some_are_refused(service: FakeService) -> None:
    refused = {"code": "conflict", "message": "it is completed already", "field": "job_id"}
    job = service.add_job()
    service.on("POST /api/jobs/1/cancel", httpx.Response(409, json={"error": refused}))
    service.on(f"POST /api/jobs/{job.job_id}/cancel", lambda request: service._answers["GET /job"])  # type: ignore[return-value]

    ended = service.run("cancel", "1", job.job_id)

    assert (ended.exit_code, ended.stderr) == (exits.FAILED, "jobyard: it is completed already\n")
    assert ended.stdout == f"{job.job_id} is pending\n"


def test_jobs_selected_by_a_filter_are_counted_confirmed_and_changed_in_steps(service: FakeService) -> None:
    steps = iter([{"changed": 2, "skipped": 1, "cursor": "c"}, {"changed": 1, "skipped": 0, "cursor": None}])
    service.on("GET /api/jobs/count", {"count": 4, "is_exact": True})
    service.on("POST /api/jobs/retry", lambda request: httpx.Response(200, json=next(steps)))

    no = service.run("retry", "--status", "failed", stdin="n\n")
    asked_before = service.asked()
    yes = service.run("retry", "--status", "failed", stdin="y\n")

    assert no.exit_code == exits.FAILED and "retry 4 jobs?" in no.stderr
    assert asked_before == ["GET /api/jobs/count?status=failed"]
    assert yes.stdout == "3 jobs changed; 1 skipped, to which retry does not apply\n"
    assert [service.sent(number) for number in (2, 3)] == [
        {"filter": {"status": "failed"}, "limit": 500}, {"filter": {"status": "failed"}, "limit": 500, "cursor": "c"},
    ]  # fmt: skip


def test_a_program_can_skip_the_prompt_and_read_json(service: FakeService) -> None:
    service.on("GET /api/jobs/count", {"count": 1, "is_exact": True})
    service.on("POST /api/jobs/cancel", {"changed": 1, "skipped": 0, "cursor": None})

    assert json.loads(service.run("cancel", "--queue", "mail", "--yes", "--json").stdout) == {"changed": 1, "skipped": 0}


def test_named_jobs_are_retried_with_edits(service: FakeService) -> None:
    job = service.add_job()
    service.on(f"POST /api/jobs/{job.job_id}/retry", lambda request: service._answers["GET /job"])  # type: ignore[return-value]

    ended = service.run("retry", job.job_id, "--payload", "[1]", "--delay", "2m", "--max-retries", "0", "--timeout", "5")

    assert ended.stdout == f"{job.job_id} is pending\n"
    assert service.sent(1) == {"payload": [1], "delay_s": 120.0, "max_retries": 0, "timeout_s": 5.0}


def test_selected_jobs_are_retried_with_a_spread_and_a_priority(service: FakeService) -> None:
    service.on("GET /api/jobs/count", {"count": 1, "is_exact": True})
    service.on("POST /api/jobs/retry", {"changed": 1, "skipped": 0, "cursor": None})

    service.run("retry", "--tag", "a", "--tag", "b", "--error-kind", "no", "--spread", "10m", "--priority", "low", "--yes")

    assert service.asked()[0] == "GET /api/jobs/count?tag=a&tag=b&error_kind=no"
    wanted = {"tag": ["a", "b"], "error_kind": "no"}
    assert service.sent(1) == {"filter": wanted, "limit": 500, "spread_s": 600.0, "priority": "low"}


@pytest.mark.parametrize("words", [("retry", ID, "--spread", "1m"), ("retry", "--task", "x", "--payload", "1"), ("delete",)])
def test_edits_that_do_not_fit_are_refused(service: FakeService, words: tuple[str, ...]) -> None:
    ended = service.run(*words)

    assert (ended.exit_code, service.requests) == (exits.USAGE, [])


def test_jobs_are_deleted_tagged_and_made_due(service: FakeService) -> None:
    job = service.add_job(tags=("a",))
    service.on(f"DELETE /api/jobs/{job.job_id}", httpx.Response(204))
    service.on(f"POST /api/jobs/{job.job_id}/run", {})
    service.on(f"PUT /api/jobs/{job.job_id}/tags", {"tags": ["a", "b"]})

    assert service.run("delete", job.job_id).stdout == f"{job.job_id} is deleted\n"
    assert service.run("run-now", job.job_id).stdout == f"{job.job_id} is pending\n"
    assert service.run("tag", job.job_id, "b", "a").stdout == f"{job.job_id} has a, b\n"
    assert service.sent(-1) == {"tags": ["b", "a"]}


def test_submit_sends_tags(service: FakeService) -> None:
    service.on("POST /api/jobs", httpx.Response(201, json={"job_id": ID}))

    service.run("submit", "--tag", "a", "--tag", "b", "--key", "k")

    assert service.sent() == {"task": "echo", "payload": None, "idempotency_key": "k", "tags": ["a", "b"]}
