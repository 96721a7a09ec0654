"""The commands that only read: their output for people and for programs."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from jobyard.api.commands import exits
from jobyard.engine.jobs.job import Status, to_json
from tests.support.builders import a_job
from tests.support.world import START
from tests.unit.api.commands.conftest import FakeService

TASKS = [{"task": "echo", "max_retries": 5, "timeout_s": 3600.0}, {"task": "resize", "max_retries": 3, "timeout_s": 60.0}]


def error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message, "field": None}})


def test_the_url_comes_from_the_option_then_the_environment(service: FakeService) -> None:
    service.on("GET /api/tasks", TASKS)

    service.run("tasks")
    local = service.url
    service.environment |= {"PORT_OFFSET": "100"}
    service.run("tasks")
    shifted = service.url
    service.environment |= {"JOBYARD_URL": "http://jobs.test", "API_TOKEN": "secret"}
    service.run("tasks")
    named, token = service.url, service.token
    service.run("tasks", "--url", "http://other.test")

    assert (local, shifted, named) == ("http://127.0.0.1:8080", "http://127.0.0.1:8180", "http://jobs.test")
    assert (token, service.url) == ("secret", "http://other.test")


def test_tasks_are_a_table_or_one_object_per_line(service: FakeService) -> None:
    service.on("GET /api/tasks", TASKS)

    for_people, for_programs = service.run("tasks"), service.run("tasks", "--json")

    assert for_people.output.split() == ["TASK", "RETRIES", "TIMEOUT", "echo", "5", "1", "h", "resize", "3", "1", "min"]
    assert [json.loads(line) for line in for_programs.output.splitlines()] == TASKS


def test_a_list_fetches_pages_until_it_has_enough(service: FakeService) -> None:
    jobs = [a_job() for _ in range(5)]

    def page(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("cursor", 0))
        body = b"[" + b",".join(to_json(job) for job in jobs[at : at + 2]) + b"]"
        return httpx.Response(200, content=body, headers={"Link": f'</api/jobs?cursor={at + 2}>; rel="next"'} if at < 4 else {})

    service.on("GET /api/jobs", page)

    some, everything = service.run("list", "--limit", "3", "--json"), service.run("list", "--all", "--json")

    assert [json.loads(line)["job_id"] for line in some.output.splitlines()] == [job.job_id for job in jobs[:3]]
    assert [json.loads(line)["job_id"] for line in everything.output.splitlines()] == [job.job_id for job in jobs]


def test_a_list_sends_its_options_as_query_parameters(service: FakeService) -> None:
    service.on("GET /api/jobs", [])

    shown = service.run("list", "--status", "failed", "--text", "a b", "--after", "2026-01-04T02:00:00Z", "--limit", "7")

    assert shown.output == "no such jobs\n"
    assert dict(service.requests[0].url.params) == {
        "status": "failed", "text": "a b", "created_after": "2026-01-04T02:00:00Z", "limit": "7",
    }  # fmt: skip


def test_control_characters_in_a_job_cannot_move_the_cursor(service: FakeService) -> None:
    job = a_job(error="bad\x1b[2Jthings\nmore", status=Status.FAILED, finished_at=START)
    service.on("GET /api/jobs", httpx.Response(200, content=b"[" + to_json(job) + b"]"))

    shown = service.run("list")

    assert r"bad\x1b[2Jthings" in shown.output and "more" not in shown.output


def test_a_job_is_shown_with_its_attempts_and_their_last_output(service: FakeService) -> None:
    job = service.add_job(status=Status.FAILED, error="ValueError: no", attempt=1, finished_at=START)
    execution = {
        "execution_id": "e", "job_id": job.job_id, "attempt": 1, "worker_id": "box:b:worker-7001:1", "status": "failed",
        "started_at": "2026-01-04T02:04:20.123Z", "finished_at": "2026-01-04T02:04:21.123Z", "duration_ms": 1000,
        "error_message": "ValueError: no", "traceback": None,
    }  # fmt: skip
    logs = [{"attempt": 1, "output": "last words\n", "is_cut": False, "is_running": False, "progress": None}]
    service.on(f"GET /api/jobs/{job.job_id}/executions", [execution])
    service.on(f"GET /api/jobs/{job.job_id}/logs", {"job_id": job.job_id, "attempts": logs})

    shown, report = service.run("show", job.job_id).output, json.loads(service.run("show", job.job_id, "--json").output)

    assert all(words in shown for words in (job.job_id, "failed", "ValueError: no", "worker-7001", "1.0 s", "1 | last words"))
    assert (report["job"]["job_id"], report["executions"], report["logs"]) == (job.job_id, [execution], logs)


def test_reasons_are_printed_in_order(service: FakeService) -> None:
    reasons = [{"code": "scheduled", "message": "it is due in 3 h"}, {"code": "no_worker", "message": "no worker serves it"}]
    service.on("GET /api/jobs/1/why", {"job_id": "1", "status": "pending", "reasons": reasons})

    assert service.run("why", "1").output == "1 is pending\n- it is due in 3 h (scheduled)\n- no worker serves it (no_worker)\n"


@pytest.mark.parametrize(
    ("status", "exit_code", "words"),
    [(Status.COMPLETED, exits.OK, "42"), (Status.FAILED, exits.FAILED, "no luck"), (Status.CANCELLED, exits.FAILED, "")],
)
def test_the_exit_status_of_wait_shows_how_the_job_ended(service: FakeService, status: Status, exit_code: int, words: str) -> None:
    result = b"42" if status is Status.COMPLETED else None
    job = service.add_job(status=status, result=result, error="no luck" if status is Status.FAILED else None, finished_at=START)

    waited = service.run("wait", job.job_id)

    assert (waited.exit_code, waited.output.strip()) == (exit_code, f"{job.job_id} {status} {words}".strip())


def test_wait_ends_when_its_time_is_up(service: FakeService) -> None:
    job = service.add_job(status=Status.PENDING, scheduled_at=START + timedelta(hours=1))

    waited = service.run("wait", job.job_id, "--timeout", "0.01s")

    assert waited.exit_code == exits.NOT_FINISHED and "had not ended" in waited.stderr


@pytest.mark.parametrize(
    ("answer", "exit_code"),
    [
        (httpx.ConnectError("refused"), exits.UNREACHABLE), (error(503, "database_unavailable", "away"), exits.UNREACHABLE),
        (error(404, "not_found", "there is no job"), exits.FAILED), (error(401, "unauthorized", "a token"), exits.FAILED),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_a_status(service: FakeService, answer: httpx.Response | Exception, exit_code: int) -> None:
    service.on("GET /stats", answer)

    ended = service.run("stats")

    assert (ended.exit_code, ended.stdout) == (exit_code, "")
    assert ended.stderr.startswith("jobyard: ") and ended.stderr.count("\n") == 1


def test_logs_follow_until_the_job_has_ended(service: FakeService) -> None:
    outputs = iter(["one\n", "one\ntwo\n", "one\ntwo\nthree\n"])
    running, ended = a_job(status=Status.RUNNING), a_job(status=Status.COMPLETED, finished_at=START)
    states = iter([running, ended, ended])
    service.on("GET /job", lambda request: httpx.Response(200, content=to_json(next(states))))
    service.on(
        "GET /api/jobs/1/logs",
        lambda request: httpx.Response(200, json={"attempts": [{"attempt": 1, "output": next(outputs), "is_cut": False}]}),
    )

    followed = service.run("logs", "-f", "1")

    assert (followed.stdout, followed.stderr) == ("one\ntwo\nthree\n", "--- attempt 1\n")


def test_completion_scripts_exist_for_every_shell(service: FakeService) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_JOBYARD_COMPLETE" in service.run("completion", shell).output


@pytest.mark.parametrize("command", ["submit", "list", "show", "why", "wait", "cancel", "retry", "logs", "stats", "tasks"])
def test_every_command_has_help_that_names_the_service_options(service: FakeService, command: str) -> None:
    shown = service.run(command, "-h")

    assert shown.exit_code == 0 and all(option in shown.output for option in ("--json", "--url", "--token-file"))


def test_colours_are_left_out_with_no_color(service: FakeService) -> None:
    job = service.add_job(status=Status.COMPLETED)
    for path in ("executions", "logs"):
        service.on(f"GET /api/jobs/{job.job_id}/{path}", [] if path == "executions" else {"attempts": []})

    coloured = service.run("show", job.job_id, color=True).output
    service.environment |= {"NO_COLOR": "1"}

    assert "\x1b[32mcompleted" in coloured and "\x1b" not in service.run("show", job.job_id, color=True).output


def test_failures_are_listed_by_their_number(service: FakeService) -> None:
    group = {
        "task": "mail", "error_kind": "ValueError: no", "count": 7, "first_at": "2026-01-04T02:04:20.123Z",
        "last_at": "2026-01-04T02:04:20.123Z", "example_job_id": "a" * 24, "is_exact": False,
    }  # fmt: skip
    service.on("GET /api/failures", [group])

    listed = service.run("failures", "--since", "2026-01-04T00:00:00Z").stdout

    assert "   7  mail " in listed and listed.splitlines()[1].endswith("ValueError: no")
    assert "there are more than 100,000 failures" in listed
    assert service.asked() == ["GET /api/failures?since=2026-01-04T00%3A00%3A00Z"]


def test_queues_and_tasks_are_listed_with_what_is_due_and_paused(service: FakeService) -> None:
    text = (
        "# TYPE jobyard_jobs_due gauge\njobyard_jobs_due{queue=\"mail\"} 3.0\njobyard_oldest_due_job_seconds{queue=\"mail\"} 65.0\n"
        'jobyard_task_jobs_due{task="a \\"b\\""} 3.0\njobyard_task_oldest_due_job_seconds{task="a \\"b\\""} 65.0\n'
    )
    pause = {"by": "api", "since": "2026-01-04T02:04:20.123Z", "reason": "provider down", "until": None}
    service.on("GET /metrics", httpx.Response(200, text=text))
    service.on("GET /api/limits", [{"name": "queue:mail", "paused": pause}, {"name": "stripe", "paused": None}])

    listed = service.run("queues").stdout.splitlines()
    rows = [json.loads(line) for line in service.run("queues", "--json").stdout.splitlines()]

    assert listed[1].split() == ["queue", "mail", "3", "1", "min", "5", "s", "by", "api:", "provider", "down"]
    assert rows == [
        {"kind": "queue", "name": "mail", "due": 3, "oldest_due_s": 65.0, "paused": pause},
        {"kind": "task", "name": 'a "b"', "due": 3, "oldest_due_s": 65.0, "paused": None},
    ]


def test_no_failures_are_told_as_such(service: FakeService) -> None:
    service.on("GET /api/failures", [])

    assert service.run("failures").stdout == "no failures\n"
