"""Where Jobyard is and who may use it, as probes, commands and tasks find out."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
MODULE = """
import os
from jobyard import Client, task

@task("leaf")
def leaf(payload):
    return payload

@task("parent")
def parent(payload):
    child = Client().submit("leaf", payload, idempotency_key=payload)
    return {"child": leaf.submit(payload, idempotency_key=payload), "same": child, "url": os.environ["JOBYARD_URL"]}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """A system whose token is in a file, with a task that submits."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "family.py").write_text(MODULE)
    (folder / "token").write_text(f"{TOKEN}\n")
    settings = {"TOKEN_FILE": folder / "token", "TASKS": "family", "SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1}
    with Jobyard(folder, **settings) as jobyard:
        yield jobyard


def probe(jobyard: Jobyard, request: str) -> str:
    """The status line of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", jobyard.port()), timeout=LIMIT_S) as connection:
        connection.sendall(request.encode())
        return connection.makefile().readline().strip()


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /health HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: pod.internal\r\nConnection: close\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
        "GET /health HTTP/1.0\r\nHost: \r\n\r\n",
    ],
)
def test_a_probe_gets_its_answer_whatever_it_calls_us(guarded: Jobyard, request_text: str) -> None:
    assert probe(guarded, request_text).endswith("200 OK")


def test_an_address_of_ours_is_served_with_the_token_only(guarded: Jobyard) -> None:
    line = "GET /jobs HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n"

    assert " 401 " in probe(guarded, f"{line}\r\n")
    assert " 200 " in probe(guarded, f"{line}Authorization: Bearer {TOKEN}\r\n\r\n")
    assert " 421 " in probe(guarded, f"{line.replace('10.1.2.3', 'pod.internal')}Authorization: Bearer {TOKEN}\r\n\r\n")


def test_a_task_that_submits_reaches_the_system_that_runs_it(guarded: Jobyard) -> None:
    submitted = guarded.ask("POST", "/api/jobs", {"task": "parent", "payload": "from a task"}, headers=BEARER).json["job_id"]

    parent = guarded.ask("GET", f"/job?job_id={submitted}&wait_s=30", headers=BEARER).json
    assert parent["status"] == "completed", parent
    child = guarded.ask("GET", f"/job?job_id={parent['result']['child']}&wait_s=30", headers=BEARER).json

    assert (child["task"], child["result"]) == ("leaf", "from a task") and parent["result"]["same"] == child["job_id"]
    assert parent["result"]["url"] == f"http://127.0.0.1:{guarded.port()}"


@pytest.mark.parametrize("variable", ["JOBYARD_TOKEN", "API_TOKEN", "TOKEN_FILE"])
def test_a_command_and_a_program_find_the_service_by_the_servers_own_names(
    guarded: Jobyard, tmp_path: Path, variable: str
) -> None:  # fmt: skip
    (tmp_path / "token").write_text(TOKEN)
    token = str(tmp_path / "token") if variable == "TOKEN_FILE" else TOKEN
    environment = {"PATH": os.environ["PATH"], "PORT_OFFSET": str(guarded.port_offset), variable: token}

    command = [sys.executable, "-m", "jobyard", "submit", "echo", "--wait"]
    program = [sys.executable, "-c", "from jobyard import task; print(task('echo')(lambda payload: payload).submit('hi'))"]
    ended = [
        subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        for words in (command, program)
    ]

    assert [one.returncode for one in ended] == [0, 0], ended
    assert len(ended[1].stdout.strip()) == 24
