"""The other end of a client's operations: answers from a list, and pauses that only move the clock."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeVar

from jobyard.engine.client.core import Core
from jobyard.engine.client.steps import NoAnswer, Operation, Pause, Request, Response
from jobyard.engine.jobs.job import Job, to_json
from tests.support.builders import a_job
from tests.support.world import FakeWorld

T = TypeVar("T")

REFUSED = NoAnswer(was_sent=False, message="connection refused")
RESET = NoAnswer(was_sent=True, message="connection reset")


class FakeServer:
    """Runs the operations of one client; records its requests and pauses."""

    def __init__(self, *, retry_s: float = 30, request_takes_s: float = 0.0) -> None:
        self.world = FakeWorld()
        self.core = Core(self.world, retry_s=retry_s)
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self._request_takes_s = request_takes_s

    def run(self, operation: Operation[T], answers: Iterable[Response | NoAnswer]) -> T:
        """The operation's result, given these answers."""
        remaining = iter(answers)
        answer: Response | NoAnswer | None = None
        while True:
            try:
                step = operation.send(answer)
            except StopIteration as end:
                returned: T = end.value
                return returned
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                self.world.advance(step.seconds)
                answer = None
            else:
                self.requests.append(step)
                self.world.advance(self._request_takes_s)
                answer = next(remaining)

    def asked(self) -> list[str]:
        """The method and path of every request."""
        return [f"{request.method} {request.path}" for request in self.requests]


def ok(value: object, status: int = 200, **headers: str) -> Response:
    """A successful answer."""
    return Response(status=status, headers=headers, body=json.dumps(value).encode())


def job_shown(job: Job | None = None, **fields: object) -> Response:
    """An answer with a job as the service shows it."""
    return Response(status=200, body=to_json(job or a_job(**fields)))


def error(status: int, code: str, *, message: str = "no", field: str | None = None, retry_after: str = "") -> Response:
    """An error answer from Jobyard."""
    headers = {"retry-after": retry_after} if retry_after else {}
    body = json.dumps({"error": {"code": code, "message": message, "field": field}}).encode()
    return Response(status=status, headers=headers, body=body)
