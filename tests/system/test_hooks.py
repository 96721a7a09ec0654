"""Hooks of a real system: a receiver that checks signatures, and one that wants nothing any more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobyard.engine.tasks.webhook import signature
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(ThreadingHTTPServer):
    """Keeps what it receives, and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 204
        self.received: list[tuple[dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """See `Receiver`."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers.items()), body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hooked(tmp_path: Path, database: dict[str, str]) -> Iterator[Jobyard]:
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "HTTP_ALLOW_PRIVATE": 1}
    with Jobyard(tmp_path, **settings, **database) as jobyard:
        yield jobyard


def test_each_end_of_a_job_is_delivered_once_and_signed(hooked: Jobyard, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/"
    asked = {"url": url, "events": ["job.completed"], "secret": SECRET}
    assert hooked.ask("PUT", "/api/hooks/ends", asked).status == 201
    wait_for(lambda: hooked.get("/api/hooks").json, told="the hook")
    hooked.wait_for_job(hooked.submit())  # a worker that knew of no hooks has looked again by the next second

    ids = {hooked.submit() for _ in range(5)}

    def told() -> set[str]:
        return {json.loads(body)["data"]["job_id"] for _, body in receiver.received}

    wait_for(lambda: ids <= told(), told="deliveries")
    assert len(told()) == len(receiver.received)
    for headers, body in receiver.received:
        at_s = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == signature([SECRET], message_id=headers["webhook-id"], at_s=at_s, body=body)
    shown = json.dumps(hooked.get("/api/jobs?limit=1000").json) + hooked.output()
    assert SECRET not in shown


def test_a_receiver_that_is_gone_disables_its_hook_and_what_waits_is_cancelled(hooked: Jobyard, receiver: Receiver) -> None:
    receiver.status = 410
    url = f"http://127.0.0.1:{receiver.server_port}/"
    hooked.ask("PUT", "/api/hooks/gone", {"url": url, "events": ["job.completed"]})

    first = hooked.ask("POST", "/api/hooks/gone/test").json["job_id"]
    hooked.wait_for_job(first, status="failed")
    wait_for(lambda: hooked.get("/api/hooks/gone").json["disabled"], told="a disabled hook")
    second = hooked.ask("POST", "/api/hooks/gone/test").json["job_id"]

    hooked.wait_for_job(second, status="cancelled")
    assert len(receiver.received) == 1
