"""Fetches results from the service for a running task, over HTTP and with the standard library only.

The pages of a list are newest first, and a group is read oldest first; so its pages are kept in a file in between, which bounds the
memory however large the results are.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from jobyard.engine.tasks.predecessors import GroupResult

TIMEOUT_S = 30.0
TRIES = 8
PAUSE_S = 0.25
PAGE = 500
COMPLETED = "completed"
NOT_FOUND = 404


class CannotFetch(Exception):
    """A result could not be read from the service."""


class ResultFetcher:
    """See `Source`."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connect: Callable[[], http.client.HTTPConnection] = lambda: kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def result(self, job_id: str) -> Any:
        """See `Source`."""
        job, _ = self._get(f"/api/jobs/{job_id}")
        return _result_of(job) if job is not None else None

    def group(self, name: str) -> Iterator[GroupResult]:
        """See `Source`."""
        with tempfile.TemporaryFile() as file:
            places: list[int] = []
            cursor: str | None = None
            while True:
                query = {"group": name, "limit": PAGE} | ({"cursor": cursor} if cursor else {})
                page, cursor = self._get(f"/api/jobs?{urlencode(query)}")
                places.append(file.tell())
                members = [(job["job_id"], job["status"], _result_of(job)) for job in page or ()]
                file.write(json.dumps(members).encode() + b"\n")
                if cursor is None:
                    break
            for place in reversed(places):
                file.seek(place)
                yield from (GroupResult(*member) for member in reversed(json.loads(file.readline())))

    def _get(self, path: str) -> tuple[Any, str | None]:
        """The decoded answer, None if there is no such job, and the cursor of the next page."""
        told = ""
        for number in range(TRIES):
            if number:
                threading.Event().wait(PAUSE_S * number)
            connection = self._connect()
            try:
                connection.request("GET", self._prefix + path, headers=self._headers)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as wrong:
                told = repr(wrong)
                continue
            finally:
                connection.close()
            if answer.status == NOT_FOUND:
                return None, None
            if answer.status == http.client.OK:
                return json.loads(body), _cursor_in(answer.getheader("Link"))
            told = f"status {answer.status}: {body[:300].decode('utf-8', 'replace')}"
            if answer.status < http.client.INTERNAL_SERVER_ERROR:
                break
        raise CannotFetch(f"GET {path} brought no result: {told}")


def _result_of(job: dict[str, Any]) -> Any:
    return job["result"] if job["status"] == COMPLETED else None


def _cursor_in(link: str | None) -> str | None:
    if link is None:
        return None
    query = parse_qs(urlsplit(link.partition(">")[0].lstrip("<")).query)
    return query["cursor"][0] if "cursor" in query else None
