"""The gateway's requests for the client of a test, answered from jobs in memory instead of by a running system."""

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
from jobyard.engine.testing.in_memory_jobs import InMemoryJobs

STATUS_OF: dict[type[Rejected], int] = {NotFound: 404, Conflict: 409, TooLarge: 413, InvalidRequest: 400}
_JOB = r"/api/jobs/([^/]+)"


class Service:
    """Answers requests about these jobs."""

    def __init__(self, jobs: InMemoryJobs) -> None:
        self._jobs = jobs
        self._routes: list[tuple[str, str, Callable[..., httpx.Response]]] = [
            ("POST", r"/api/jobs", self._create),
            ("POST", r"/api/jobs/batch", self._create_batch),
            ("GET", r"/api/jobs", self._list),
            ("GET", _JOB, lambda request, job_id: _json_response(to_json(jobs.find(job_id)))),
            ("GET", f"{_JOB}/executions", lambda request, job_id: _json_array(map(execution_to_json, jobs.executions(job_id)))),
            ("POST", f"{_JOB}/cancel", lambda request, job_id: _json_response(to_json(jobs.cancel(job_id)))),
            ("POST", f"{_JOB}/retry", lambda request, job_id: _json_response(to_json(jobs.retry(job_id, request.content)))),
            ("POST", f"{_JOB}/run", lambda request, job_id: _json_response(to_json(jobs.make_due(job_id)))),
            ("PUT", f"{_JOB}/tags", lambda request, job_id: _json_response(to_json(jobs.retag(job_id, request.content)))),
            ("DELETE", _JOB, self._delete),
            ("GET", r"/stats", self._stats),
            ("GET", r"/health", lambda request: httpx.Response(200, json={"status": "healthy", "components": {}})),
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; the transport of the test's clients."""
        try:
            for method, path, view in self._routes:
                found = re.fullmatch(path, request.url.path)
                if found and request.method == method:
                    return view(request, *found.groups())
            raise NotFound("not_found", f"there is nothing at {request.method} {request.url.path}")
        except Rejected as rejected:
            error = {"code": rejected.code, "message": rejected.message, "field": rejected.field, **rejected.details}
            return httpx.Response(STATUS_OF.get(type(rejected), 400), json={"error": error})

    def _create(self, request: httpx.Request) -> httpx.Response:
        [job], answer = self._jobs.accept("job", request.content)
        [job_id] = answer.job_ids
        uniqueness = {} if job.unique_key is None else {"existing": bool(answer.existing)}
        uniqueness |= {"replaced": True} if answer.replaced else {}
        told = {"job_id": job_id, "status": self._jobs.find(job_id).status, "message": "job accepted", **uniqueness}
        return httpx.Response(201 if answer.stored else 200, json=told)

    def _create_batch(self, request: httpx.Request) -> httpx.Response:
        jobs, answer = self._jobs.accept("batch", request.content)
        keys = {"existing": answer.existing, "replaced": answer.replaced} if any(job.unique_key for job in jobs) else {}
        return httpx.Response(201 if answer.stored or not jobs else 200, json={"job_ids": answer.job_ids, **keys})

    def _delete(self, request: httpx.Request, job_id: str) -> httpx.Response:
        self._jobs.delete(job_id)
        return httpx.Response(204)

    def _list(self, request: httpx.Request) -> httpx.Response:
        """All jobs in one page."""
        wanted = _filter(request.url.params)
        newest_first = reversed(list(self._jobs))
        return _json_array(to_json(job) for job in newest_first if is_wanted(job, wanted))

    def _stats(self, request: httpx.Request) -> httpx.Response:
        counts = Counter(job.status for job in self._jobs)
        return httpx.Response(200, json={"jobs": {status: counts[status] for status in Status}, "processes": [], "components": {}})


def _filter(params: httpx.QueryParams) -> JobFilter:
    values: dict[str, Any] = {}
    for name, row in FILTERS.items():
        try:
            values |= {name: row.read_all(params.get_list(name))} if name in params else {}
        except ValueError as expected:
            raise InvalidRequest("invalid_field", f"{name} must be {expected}, not {params[name][:100]!r}", name) from None
    return JobFilter(**values)


def _json_response(body: bytes) -> httpx.Response:
    return httpx.Response(200, content=body, headers={"Content-Type": "application/json"})


def _json_array(bodies: Iterable[bytes]) -> httpx.Response:
    return _json_response(b"[" + b",".join(bodies) + b"]")
