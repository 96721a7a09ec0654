"""Runs the commands as a person does, against a service of prepared answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from jobyard.api.commands.connection import CommandEnvironment
from jobyard.api.commands.root import NAME, commands
from jobyard.engine.client.sync_client import Client
from jobyard.engine.jobs.job import Job, to_json
from tests.support.builders import a_job

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class FakeService:
    """Answers by method and path; records the requests, and the client's URL and token."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.requests: list[httpx.Request] = []
        self.url = self.token = ""
        self._answers: dict[str, Answer] = {}

    def on(self, what: str, answer: Answer | object) -> FakeService:
        """Set the answer to a request such as `GET /stats` (without the query). A plain value is sent as JSON with status 200."""
        known = isinstance(answer, httpx.Response | Exception) or callable(answer)
        self._answers[what] = answer if known else httpx.Response(200, json=answer)  # type: ignore[assignment]
        return self

    def add_job(self, **fields: Any) -> Job:
        """Add a job that the service shows."""
        job = a_job(**fields)
        for path in ("/job", f"/api/jobs/{job.job_id}"):
            self.on(f"GET {path}", httpx.Response(200, content=to_json(job)))
        return job

    def run(self, *words: str, stdin: str | bytes | None = None, color: bool = False) -> Result:
        """Run the command; its output and exit status."""
        command_environment = CommandEnvironment(environment=self.environment, connect=self._connect)
        return CliRunner().invoke(commands, list(words), obj=command_environment, input=stdin, color=color, prog_name=NAME)

    def asked(self) -> list[str]:
        """The requests so far, as method and path."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def sent(self, number: int = 0) -> Any:
        """The decoded body of one request."""
        return json.loads(self.requests[number].content)

    def client(self) -> Client:
        """A client of this service."""
        return self._connect("http://jobs.test", None, retry_s=0)

    def _connect(self, url: str, token: str | None, *, retry_s: float) -> Client:
        self.url, self.token = url, token or ""
        return Client(url, token, retry_s=0, http=httpx.Client(transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)


@pytest.fixture
def service() -> FakeService:
    return FakeService()
