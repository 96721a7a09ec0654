"""What the commands that change something send, and what they ask before."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from jobyard.api.commands import exits
from tests.unit.api.commands.conftest import Desk

ID = "a" * 24


def accepted(*job_ids: str) -> httpx.Response:
    return httpx.Response(201, json={"job_ids": list(job_ids)})


def test_submit_sends_what_the_options_say_and_prints_the_id(desk: Desk) -> None:
    desk.on("POST /api/jobs", httpx.Response(201, json={"job_id": ID}))

    submitted = desk.run(
        "submit", "resize", "--payload", '{"a": 1}', "--delay", "2m", "--priority", "high", "--max-retries", "2", "--timeout",
        "1.5h", "--key", "k",
    )  # fmt: skip

    assert (submitted.stdout, submitted.exit_code) == (f"{ID}\n", exits.OK)
    assert desk.sent() == {
        "task": "resize", "payload": {"a": 1}, "delay_s": 120.0, "priority": "high", "max_retries": 2, "timeout_s": 5400.0,
        "idempotency_key": "k",
    }  # fmt: skip


@pytest.mark.parametrize("source", ["@payload.json", "-"])
def test_a_payload_comes_from_a_file_or_from_stdin(desk: Desk, tmp_path: Path, source: str) -> None:
    desk.on("POST /api/jobs", httpx.Response(201, json={"job_id": ID}))
    (tmp_path / "payload.json").write_text("[1]")
    words = source.replace("@", f"@{tmp_path}/")

    desk.run("submit", "--payload", words, "--json", stdin="[1]")

    assert desk.sent()["payload"] == [1]


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "--payload", "text"), ("submit", "--payload", "@/no/such/file"), ("submit", "--delay", "soon"),
        ("submit", "--file", "x", "--payload", "1"), ("submit", "--file", "/no/such/file"), ("cancel",),
        ("retry", ID, "--task", "x"), ("list", "--status", "lost"), ("wait",),
        ("stats", "--token-file", "/no/such/file"), ("stats", "--url", "ftp://x"),
    ],
)  # fmt: skip
def test_wrong_words_are_told_with_status_2_and_nothing_is_asked(desk: Desk, words: tuple[str, ...]) -> None:
    ended = desk.run(*words)

    assert (ended.exit_code, desk.requests) == (exits.USAGE, [])


def test_a_file_called_again_sends_the_same_keys(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"payload": 1}\n{"payload": 2, "idempotency_key": "mine"}\n')
    desk.on("POST /api/jobs/batch", accepted("1", "2"))

    first, again = desk.run("submit", "--file", str(file)), desk.run("submit", "--file", str(file))
    named = desk.run("submit", "--file", str(file), "--key", "today")

    assert first.stdout == again.stdout == named.stdout == "1\n2\n"
    assert desk.sent(0) == desk.sent(1)
    keys = [job["idempotency_key"] for job in desk.sent(0)["jobs"]]
    assert keys[0].endswith("-0") and len(keys[0]) > 30 and keys[1] == "mine"
    assert [job["idempotency_key"] for job in desk.sent(2)["jobs"]] == ["today-0", "mine"]


def test_the_same_lines_by_stdin_get_the_same_keys(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"payload": 1}\n')
    desk.on("POST /api/jobs/batch", accepted("1"))

    desk.run("submit", "--file", str(file))
    desk.run("submit", "--file", "-", stdin=file.read_bytes())

    assert desk.sent(0) == desk.sent(1)


@pytest.mark.parametrize("line", ["{", "[1]", "", '{"payload": NaN'])
def test_a_bad_line_is_named_as_an_editor_does(desk: Desk, line: str) -> None:
    ended = desk.run("submit", "--file", "-", stdin='{"payload": 1}\n' + line + "\n")

    assert ended.exit_code == exits.FAILED and "line 2 is no JSON" in ended.stderr


def test_a_line_that_the_service_refuses_is_named_too(desk: Desk) -> None:
    wrong = {"code": "invalid_field", "message": "jobs[1]: priority must be …", "field": "jobs[1].priority"}
    desk.on("POST /api/jobs/batch", httpx.Response(400, json={"error": wrong}))

    ended = desk.run("submit", "--file", "-", stdin='{}\n{"priority": "x"}\n')

    assert ended.stderr == "jobyard: line 2: priority must be …\n"


def test_named_jobs_are_changed_one_by_one_whatever_becomes_of_the_others(desk: Desk) -> None:
    refused = {"code": "conflict", "message": "it is completed already", "field": "job_id"}
    job = desk.knows()
    desk.on("POST /api/jobs/1/cancel", httpx.Response(409, json={"error": refused}))
    desk.on(f"POST /api/jobs/{job.job_id}/cancel", lambda request: desk._answers["GET /job"])  # type: ignore[return-value]

    ended = desk.run("cancel", "1", job.job_id)

    assert (ended.exit_code, ended.stderr) == (exits.FAILED, "jobyard: it is completed already\n")
    assert ended.stdout == f"{job.job_id} is pending\n"


def test_what_a_filter_selects_is_counted_confirmed_and_done_step_by_step(desk: Desk) -> None:
    steps = iter([{"changed": 2, "skipped": 1, "cursor": "c"}, {"changed": 1, "skipped": 0, "cursor": None}])
    desk.on("GET /api/jobs/count", {"count": 4, "is_exact": True})
    desk.on("POST /api/jobs/retry", lambda request: httpx.Response(200, json=next(steps)))

    no = desk.run("retry", "--status", "failed", stdin="n\n")
    asked_before = desk.asked()
    yes = desk.run("retry", "--status", "failed", stdin="y\n")

    assert no.exit_code == exits.FAILED and "retry 4 jobs?" in no.stderr
    assert asked_before == ["GET /api/jobs/count?status=failed"]
    assert yes.stdout == "3 jobs changed; 1 skipped, to which retry does not apply\n"
    assert [desk.sent(number) for number in (2, 3)] == [
        {"filter": {"status": "failed"}, "limit": 500}, {"filter": {"status": "failed"}, "limit": 500, "cursor": "c"},
    ]  # fmt: skip


def test_a_program_says_yes_and_reads_json(desk: Desk) -> None:
    desk.on("GET /api/jobs/count", {"count": 1, "is_exact": True})
    desk.on("POST /api/jobs/cancel", {"changed": 1, "skipped": 0, "cursor": None})

    assert json.loads(desk.run("cancel", "--queue", "mail", "--yes", "--json").stdout) == {"changed": 1, "skipped": 0}
