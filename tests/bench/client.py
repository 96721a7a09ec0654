"""A client with one keep-alive connection, for measurements that need the exact time of sending."""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime

ACCEPTED = (200, 201)
"""200: a job with this key was accepted before, and only the answer was lost."""


class Refused(Exception):
    """A submission was not accepted."""


class Client:
    """Submits jobs one after the other."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def submit(self, task: str, payload: object, **fields: object) -> int:
        """Submit a job; returns the monotonic time in ns at which its request was sent."""
        return self._post("/api/jobs", {"task": task, "payload": payload, **fields})

    def submit_batch(self, jobs: list[dict[str, object]]) -> int:
        """Submit jobs in one request; returns the time at which it was sent."""
        return self._post("/api/jobs/batch", {"jobs": jobs})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, path: str, asked: object) -> int:
        body = json.dumps(asked)
        self._connection.connect() if self._connection.sock is None else None
        sent_ns = time.monotonic_ns()
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in ACCEPTED:
            raise Refused(f"{answer.status} {said!r}")
        return sent_ns


def rfc3339_at(wall_ns: int) -> str:
    """A wall clock time in the format of `scheduled_at`."""
    return datetime.fromtimestamp(wall_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")
