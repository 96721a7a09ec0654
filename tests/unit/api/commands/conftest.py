"""The commands as a person runs them, on a service that is made of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from jobyard.api.commands.connection import ChildEnvironment
from jobyard.api.commands.root import commands
from jobyard.engine.client.sync_client import Client
from jobyard.engine.jobs.job import Job, to_json
from tests.support.builders import a_job

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Desk:
    """Answers by method and path; remembers what it was asked, and by whom."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.requests: list[httpx.Request] = []
        self.url = self.token = ""
        self._answers: dict[str, Answer] = {}

    def on(self, what: str, answer: Answer | object) -> Desk:
        """From now on `GET /stats` (without the query) is answered so; what is no answer is JSON of a 200."""
        known = isinstance(answer, httpx.Response | Exception) or callable(answer)
        self._answers[what] = answer if known else httpx.Response(200, json=answer)  # type: ignore[assignment]
        return self

    def knows(self, **fields: Any) -> Job:
        """A job that it shows."""
        job = a_job(**fields)
        for path in ("/job", f"/api/jobs/{job.job_id}"):
            self.on(f"GET {path}", httpx.Response(200, content=to_json(job)))
        return job

    def run(self, *words: str, stdin: str | bytes | None = None, color: bool = False) -> Result:
        """What the command printed, and its status."""
        surroundings = ChildEnvironment(environment=self.environment, connect=self._connect)
        return CliRunner().invoke(commands, list(words), obj=surroundings, input=stdin, color=color)

    def asked(self) -> list[str]:
        """The requests so far."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.requests]

    def sent(self, number: int = 0) -> Any:
        """The body of one of them."""
        return json.loads(self.requests[number].content)

    def client(self) -> Client:
        """One that asks it."""
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
def desk() -> Desk:
    return Desk()
