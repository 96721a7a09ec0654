"""What the client of a test asks and is answered: the gateway's requests, over a book instead of a system."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from jobyard.engine.errors import Conflict, InvalidRequest, NotFound, Rejected, TooLarge
from jobyard.engine.jobs.job import JobFilter, Status, execution_to_json, to_json
from jobyard.engine.jobs.selection import FILTERS
from jobyard.engine.store.search_text import is_wanted
from jobyard.engine.testing.book import JobBook

STATUS_OF: dict[type[Rejected], int] = {NotFound: 404, Conflict: 409, TooLarge: 413, InvalidRequest: 400}
_JOB = r"/api/jobs/([^/]+)"


class Service:
    """Answers for one book."""

    def __init__(self, book: JobBook) -> None:
        self._book = book
        self._routes: list[tuple[str, str, Callable[..., httpx.Response]]] = [
            ("POST", r"/api/jobs", self._create),
            ("POST", r"/api/jobs/batch", self._create_batch),
            ("GET", r"/api/jobs", self._list),
            ("GET", _JOB, lambda request, job_id: _told(to_json(book.find(job_id)))),
            ("GET", f"{_JOB}/executions", lambda request, job_id: _array(map(execution_to_json, book.executions(job_id)))),
            ("POST", f"{_JOB}/cancel", lambda request, job_id: _told(to_json(book.cancel(job_id)))),
            ("POST", f"{_JOB}/retry", lambda request, job_id: _told(to_json(book.retry(job_id)))),
            ("GET", r"/stats", self._stats),
            ("GET", r"/health", lambda request: httpx.Response(200, json={"status": "healthy", "components": {}})),
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        """The transport of the test's clients."""
        try:
            for method, path, view in self._routes:
                found = re.fullmatch(path, request.url.path)
                if found and request.method == method:
                    return view(request, *found.groups())
            raise NotFound("not_found", f"there is nothing at {request.method} {request.url.path}")
        except Rejected as wrong:
            error = {"code": wrong.code, "message": wrong.message, "field": wrong.field}
            return httpx.Response(STATUS_OF.get(type(wrong), 400), json={"error": error})

    def _create(self, request: httpx.Request) -> httpx.Response:
        [job_id] = self._book.accept("job", request.content)
        return httpx.Response(201, json={"job_id": job_id, "status": Status.PENDING, "message": "job accepted"})

    def _create_batch(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json={"job_ids": self._book.accept("batch", request.content)})

    def _list(self, request: httpx.Request) -> httpx.Response:
        """Always one page."""
        wanted = _filter(request.url.params)
        newest_first = reversed(list(self._book))
        return _array(to_json(job) for job in newest_first if is_wanted(job, wanted))

    def _stats(self, request: httpx.Request) -> httpx.Response:
        counts = Counter(job.status for job in self._book)
        return httpx.Response(200, json={"jobs": {status: counts[status] for status in Status}, "processes": [], "components": {}})


def _filter(asked: httpx.QueryParams) -> JobFilter:
    values: dict[str, Any] = {}
    for name, row in FILTERS.items():
        try:
            values |= {name: row.read(asked[name])} if name in asked else {}
        except ValueError as wrong:
            raise InvalidRequest("invalid_field", f"{name} must be {wrong}, not {asked[name][:100]!r}", name) from None
    return JobFilter(**values)


def _told(body: bytes) -> httpx.Response:
    return httpx.Response(200, content=body, headers={"Content-Type": "application/json"})


def _array(bodies: Iterable[bytes]) -> httpx.Response:
    return _told(b"[" + b",".join(bodies) + b"]")
