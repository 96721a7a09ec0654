"""`submit --file`: the whole file is checked first, and what comes of it can be resumed."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from jobyard.api.commands import exits
from tests.unit.api.commands.conftest import FakeService

TASKS = [{"task": "echo", "max_retries": 5, "timeout_s": 3600.0}]


@pytest.fixture
def service(service: FakeService) -> FakeService:
    return service.on("GET /api/tasks", TASKS)


def accepted(*job_ids: str) -> httpx.Response:
    return httpx.Response(201, json={"job_ids": list(job_ids)})


def batches(service: FakeService) -> list[list[dict[str, object]]]:
    """The jobs of each request that submitted some."""
    sent = [service.sent(number) for number, request in enumerate(service.requests) if request.url.path == "/api/jobs/batch"]
    return [body["jobs"] for body in sent]


def test_a_file_that_is_submitted_again_sends_the_same_keys(service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"payload": 1}\n{"payload": 2, "idempotency_key": "mine"}\n')
    service.on("POST /api/jobs/batch", accepted("1", "2"))

    first, again = service.run("submit", "--file", str(file)), service.run("submit", "--file", str(file))
    named = service.run("submit", "--file", str(file), "--key", "today")

    assert first.stdout == again.stdout == named.stdout == "1\n2\n"
    one, two, three = batches(service)
    keys = [str(job["idempotency_key"]) for job in one]
    assert one == two and keys[0].endswith("-0") and len(keys[0]) > 30 and keys[1] == "mine"
    assert [job["idempotency_key"] for job in three] == ["today-0", "mine"]


def test_the_same_lines_on_stdin_get_the_same_keys(service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "jobs.ndjson"
    file.write_text('{"payload": 1}\n')
    service.on("POST /api/jobs/batch", accepted("1"))

    service.run("submit", "--file", str(file))
    service.run("submit", "--file", "-", stdin=file.read_bytes())

    first, second = batches(service)
    assert first == second


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: "), ("[1]", "line 3: "), ('{"payload": NaN}', "line 3: "),
        ('{"priority": "urgent"}', "line 3: priority must be"),
        ('{"task": "nope"}', "line 3: "), ('{"what": 1}', "line 3: "), ('{"payload": 1, "payload": 2}', "line 3: "),
    ],
)  # fmt: skip
def test_one_invalid_line_keeps_the_whole_file_from_being_submitted(service: FakeService, line: str, message: str) -> None:
    ended = service.run("submit", "--file", "-", stdin=f'{{"payload": 1}}\n\n{line}\n{{"payload": 3}}\n')

    assert ended.exit_code == exits.FAILED and batches(service) == []
    assert "nothing was submitted: 1 of 3 lines is no valid job" in ended.stderr and message in ended.stderr


def test_every_invalid_line_is_named_up_to_ten(service: FakeService) -> None:
    ended = service.run("submit", "--file", "-", stdin="{\n" * 12)

    assert all(f"  line {number}: " in ended.stderr for number in range(1, 11))
    assert "line 11" not in ended.stderr and "and 2 more" in ended.stderr


def test_two_lines_with_one_key_are_told_before_anything_is_sent(service: FakeService) -> None:
    ended = service.run("submit", "--file", "-", stdin='{"idempotency_key": "k"}\n{"payload": 1, "idempotency_key": "k"}\n')

    assert "line 2: idempotency_key is the same as in line 1" in ended.stderr and batches(service) == []


def test_blank_lines_and_a_byte_order_mark_are_skipped_and_change_no_key(service: FakeService) -> None:
    service.on("POST /api/jobs/batch", accepted("1", "2"))

    service.run("submit", "--file", "-", stdin=b'{"payload": 1}\n{"payload": 2}\n')
    service.run("submit", "--file", "-", stdin=b'\xef\xbb\xbf{"payload": 1}\r\n\n   \n{"payload": 2}')

    plain, marked = batches(service)
    assert plain == marked


def test_a_line_that_the_service_refuses_is_named_by_its_line_number(service: FakeService) -> None:
    wrong = {"code": "invalid_field", "message": "jobs[1]: priority must be …", "field": "jobs[1].priority"}
    service.on("POST /api/jobs/batch", httpx.Response(400, json={"error": wrong}))

    ended = service.run("submit", "--file", "-", stdin='{}\n\n{"priority": 1}\n')

    assert ended.stderr == "jobyard: line 3: priority must be …\n"


def test_after_an_error_in_the_middle_it_says_what_is_stored_and_how_to_resume(service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "jobs of today.ndjson"
    file.write_text("{}\n" * 501)
    refused = httpx.Response(409, json={"error": {"code": "conflict", "message": "jobs[0]: no", "field": "jobs[0].task"}})
    answers = iter([accepted(*map(str, range(500))), refused])
    service.on("POST /api/jobs/batch", lambda request: next(answers))

    ended = service.run("submit", "--file", str(file), "--key", "k")

    assert ended.exit_code == exits.FAILED and "line 501: no" in ended.stderr
    assert "the first 500 jobs are stored" in ended.stderr
    assert f"bin/jobyard submit --file '{file}' --key k" in ended.stderr
