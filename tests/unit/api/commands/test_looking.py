"""What the commands that only look show, to people and to programs."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from jobyard.api.commands import exits
from jobyard.engine.jobs.job import Status, to_json
from tests.support.builders import a_job
from tests.support.world import START
from tests.unit.api.commands.conftest import Desk

TASKS = [{"task": "echo", "max_retries": 5, "timeout_s": 3600.0}, {"task": "resize", "max_retries": 3, "timeout_s": 60.0}]


def error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message, "field": None}})


def test_where_it_asks_comes_from_the_option_then_the_environment(desk: Desk) -> None:
    desk.on("GET /api/tasks", TASKS)

    desk.run("tasks")
    local = desk.url
    desk.environment |= {"PORT_OFFSET": "100"}
    desk.run("tasks")
    shifted = desk.url
    desk.environment |= {"JOBYARD_URL": "http://jobs.test", "API_TOKEN": "secret"}
    desk.run("tasks")
    named, token = desk.url, desk.token
    desk.run("tasks", "--url", "http://other.test")

    assert (local, shifted, named) == ("http://127.0.0.1:8080", "http://127.0.0.1:8180", "http://jobs.test")
    assert (token, desk.url) == ("secret", "http://other.test")


def test_tasks_are_a_table_or_an_object_a_line(desk: Desk) -> None:
    desk.on("GET /api/tasks", TASKS)

    for_people, for_programs = desk.run("tasks"), desk.run("tasks", "--json")

    assert for_people.output.split() == ["TASK", "RETRIES", "TIME-OUT", "echo", "5", "1", "h", "resize", "3", "1", "min"]
    assert [json.loads(line) for line in for_programs.output.splitlines()] == TASKS


def test_a_list_goes_through_the_pages_until_it_has_enough(desk: Desk) -> None:
    jobs = [a_job() for _ in range(5)]

    def page(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("cursor", 0))
        body = b"[" + b",".join(to_json(job) for job in jobs[at : at + 2]) + b"]"
        return httpx.Response(200, content=body, headers={"Link": f'</api/jobs?cursor={at + 2}>; rel="next"'} if at < 4 else {})

    desk.on("GET /api/jobs", page)

    some, everything = desk.run("list", "--limit", "3", "--json"), desk.run("list", "--all", "--json")

    assert [json.loads(line)["job_id"] for line in some.output.splitlines()] == [job.job_id for job in jobs[:3]]
    assert [json.loads(line)["job_id"] for line in everything.output.splitlines()] == [job.job_id for job in jobs]


def test_a_list_asks_for_what_the_options_say(desk: Desk) -> None:
    desk.on("GET /api/jobs", [])

    shown = desk.run("list", "--status", "failed", "--text", "a b", "--after", "2026-01-04T02:00:00Z", "--limit", "7")

    assert shown.output == "no such jobs\n"
    assert dict(desk.requests[0].url.params) == {
        "status": "failed", "text": "a b", "created_after": "2026-01-04T02:00:00Z", "limit": "7",
    }  # fmt: skip


def test_what_a_job_holds_cannot_move_the_cursor(desk: Desk) -> None:
    job = a_job(error="bad\x1b[2Jthings\nmore", status=Status.FAILED, finished_at=START)
    desk.on("GET /api/jobs", httpx.Response(200, content=b"[" + to_json(job) + b"]"))

    shown = desk.run("list")

    assert r"bad\x1b[2Jthings" in shown.output and "more" not in shown.output


def test_a_job_is_shown_with_its_attempts_and_their_last_words(desk: Desk) -> None:
    job = desk.knows(status=Status.FAILED, error="ValueError: no", attempt=1, finished_at=START)
    execution = {
        "execution_id": "e", "job_id": job.job_id, "attempt": 1, "worker_id": "box:b:worker-7001:1", "status": "failed",
        "started_at": "2026-01-04T02:04:20.123Z", "finished_at": "2026-01-04T02:04:21.123Z", "duration_ms": 1000,
        "error_message": "ValueError: no", "traceback": None,
    }  # fmt: skip
    logs = [{"attempt": 1, "output": "last words\n", "is_cut": False, "is_running": False, "progress": None}]
    desk.on(f"GET /api/jobs/{job.job_id}/executions", [execution])
    desk.on(f"GET /api/jobs/{job.job_id}/logs", {"job_id": job.job_id, "attempts": logs})

    shown, told = desk.run("show", job.job_id).output, json.loads(desk.run("show", job.job_id, "--json").output)

    assert all(words in shown for words in (job.job_id, "failed", "ValueError: no", "worker-7001", "1.0 s", "1 | last words"))
    assert (told["job"]["job_id"], told["executions"], told["logs"]) == (job.job_id, [execution], logs)


def test_reasons_are_told_in_their_order(desk: Desk) -> None:
    reasons = [{"code": "scheduled", "message": "it is due in 3 h"}, {"code": "no_worker", "message": "no worker serves it"}]
    desk.on("GET /api/jobs/1/why", {"job_id": "1", "status": "pending", "reasons": reasons})

    assert desk.run("why", "1").output == "1 is pending\n- it is due in 3 h (scheduled)\n- no worker serves it (no_worker)\n"


@pytest.mark.parametrize(
    ("status", "exit_code", "words"),
    [(Status.COMPLETED, exits.OK, "42"), (Status.FAILED, exits.FAILED, "no luck"), (Status.CANCELLED, exits.FAILED, "")],
)
def test_the_status_of_wait_tells_how_it_ended(desk: Desk, status: Status, exit_code: int, words: str) -> None:
    result = b"42" if status is Status.COMPLETED else None
    job = desk.knows(status=status, result=result, error="no luck" if status is Status.FAILED else None, finished_at=START)

    waited = desk.run("wait", job.job_id)

    assert (waited.exit_code, waited.output.strip()) == (exit_code, f"{job.job_id} {status} {words}".strip())


def test_wait_ends_when_its_time_is_up(desk: Desk) -> None:
    job = desk.knows(status=Status.PENDING, scheduled_at=START + timedelta(hours=1))

    waited = desk.run("wait", job.job_id, "--timeout", "0.01s")

    assert waited.exit_code == exits.NOT_FINISHED and "had not ended" in waited.stderr


@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [
        (httpx.ConnectError("refused"), exits.UNREACHABLE), (error(503, "database_unavailable", "away"), exits.UNREACHABLE),
        (error(404, "not_found", "there is no job"), exits.FAILED), (error(401, "unauthorized", "a token"), exits.FAILED),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_a_status(desk: Desk, answer: httpx.Response | Exception, exit_code: int) -> None:
    desk.on("GET /stats", answer)

    ended = desk.run("stats")

    assert (ended.exit_code, ended.stdout) == (exit_code, "")
    assert ended.stderr.startswith("jobyard: ") and ended.stderr.count("\n") == 1


def test_logs_follow_until_the_job_has_ended(desk: Desk) -> None:
    outputs = iter(["one\n", "one\ntwo\n", "one\ntwo\nthree\n"])
    running, ended = a_job(status=Status.RUNNING), a_job(status=Status.COMPLETED, finished_at=START)
    states = iter([running, ended, ended])
    desk.on("GET /job", lambda request: httpx.Response(200, content=to_json(next(states))))
    desk.on(
        "GET /api/jobs/1/logs",
        lambda request: httpx.Response(200, json={"attempts": [{"attempt": 1, "output": next(outputs), "is_cut": False}]}),
    )

    followed = desk.run("logs", "-f", "1")

    assert (followed.stdout, followed.stderr) == ("one\ntwo\nthree\n", "--- attempt 1\n")


def test_completion_offers_what_the_service_knows(desk: Desk) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_JOBYARD_COMPLETE" in desk.run("completion", shell).output


@pytest.mark.parametrize("command", ["submit", "list", "show", "why", "wait", "cancel", "retry", "logs", "stats", "tasks"])
def test_every_command_has_help_that_names_the_service_options(desk: Desk, command: str) -> None:
    shown = desk.run(command, "-h")

    assert shown.exit_code == 0 and all(option in shown.output for option in ("--json", "--url", "--token-file"))


def test_colours_are_for_terminals_of_people_who_want_them(desk: Desk) -> None:
    job = desk.knows(status=Status.COMPLETED)
    for path in ("executions", "logs"):
        desk.on(f"GET /api/jobs/{job.job_id}/{path}", [] if path == "executions" else {"attempts": []})

    wanted = desk.run("show", job.job_id, color=True).output
    desk.environment |= {"NO_COLOR": "1"}

    assert "\x1b[32mcompleted" in wanted and "\x1b" not in desk.run("show", job.job_id, color=True).output
