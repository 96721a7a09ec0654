"""One keep-alive connection for measures that want to know exactly when a request left."""

from __future__ import annotations

import http.client
import json
import time
from datetime import UTC, datetime

TAKEN = (200, 201)
"""200: with its key it was taken before, and only the answer was lost."""


class Refused(Exception):
    """A submission was not taken."""


class Client:
    """Submits one job after the other."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def submit(self, task: str, payload: object, **fields: object) -> int:
        """A new job; the monotonic time in ns at which its request left."""
        return self._post("/api/jobs", {"task": task, "payload": payload, **fields})

    def submit_batch(self, jobs: list[dict[str, object]]) -> int:
        """New jobs in one request; when it left."""
        return self._post("/api/jobs/batch", {"jobs": jobs})

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _post(self, path: str, asked: object) -> int:
        body = json.dumps(asked)
        self._connection.connect() if self._connection.sock is None else None
        sent_ns = time.monotonic_ns()
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status not in TAKEN:
            raise Refused(f"{answer.status} {said!r}")
        return sent_ns


def rfc3339_at(wall_ns: int) -> str:
    """A wall time as `scheduled_at` takes it."""
    return datetime.fromtimestamp(wall_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")
