"""The views for jobs, at the gateway (through the load balancer) and on a scheduler's own port.

Each view reads the request, sends one message and replies. Request bodies are not decoded here, and jobs are not encoded.
"""

from __future__ import annotations

import threading
from typing import Protocol
from urllib.parse import urlencode

import msgspec
from flask import Request, request

from jobyard.api.http.body import JSON, NDJSON, Environ, media_type, read_body, read_optional_body
from jobyard.api.http.guards import client_of
from jobyard.api.http.query import (
    COUNT_QUERY,
    DEFAULT_LIMIT,
    FAILURES_QUERY,
    FIND_QUERY,
    LIST_QUERY,
    SHOW_QUERY,
    read_job_id,
    read_query,
)
from jobyard.api.http.reply import Reply, json_reply, message_reply, value_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.api.http.waiting import wait_for_end
from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Verb
from jobyard.engine.jobs.submission_body import MAX_BATCH
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    Accepted,
    CancelJob,
    ChangeMany,
    CountMatching,
    DeleteJob,
    DeleteMany,
    Find,
    Json,
    List,
    ListExecutions,
    ListFailures,
    ListTasks,
    RetryJob,
    RunJob,
    Submit,
    TagJob,
)
from jobyard.engine.world import World


class SchedulerClient(Protocol):
    """Sends requests to a scheduler."""

    def submit_deadline(self) -> float:
        """The monotonic time until which a submission that is sent now may be stored."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Jobs:
    """The views."""

    def __init__(self, scheduler: SchedulerClient, world: World) -> None:
        self._scheduler = scheduler
        self._world = world
        self._lock = threading.Lock()

    def create(self) -> Reply:
        """Submit one job."""
        read_query(request, ())
        return self.submission_reply(self._scheduler.send(self.submission(request.environ)))

    def submission(self, environ: Environ) -> Submit:
        """The submission of one job from a request without a query."""
        media_type(environ, (JSON,))
        return self._submit(environ, "job", 1)

    def submission_reply(self, answer: Message) -> Reply:
        """The reply for a scheduler's answer to a submission; the job's status is looked up only if it was accepted before."""
        if not isinstance(answer, Accepted):
            return message_reply(answer)
        job_id = answer.job_ids[0]
        location = {"Location": f"/api/jobs/{job_id}"}
        if answer.repeated or answer.existing:
            told = "this job was accepted before" if answer.repeated else "an existing job has this unique key"
            shown = {"job_id": job_id, "status": self._status_of(job_id), "message": told, **_uniqueness(answer)}
            return value_reply(shown, 200, location)
        shown = {"job_id": job_id, "status": answer.status, "message": "job accepted", **_uniqueness(answer)}
        return value_reply(shown, 201, location)

    def create_batch(self) -> Reply:
        """Submit several jobs, all or none."""
        read_query(request, ())
        form = "ndjson" if media_type(request.environ, (JSON, NDJSON)) == NDJSON else "batch"
        if "Idempotency-Key" in request.headers:
            raise InvalidRequest(
                "invalid_field", "the Idempotency-Key header is for a single job; set idempotency_key on each job of a batch",
                "idempotency_key",
            )  # fmt: skip
        answer = self._scheduler.send(self._submit(request.environ, form, MAX_BATCH))
        if not isinstance(answer, Accepted):
            return message_reply(answer)
        keys = {} if answer.existing is None else {"existing": answer.existing, "replaced": answer.replaced}
        is_new = len(answer.job_ids) > answer.repeated + len(answer.existing or ())
        return value_reply({"job_ids": answer.job_ids, **keys}, 201 if is_new or not answer.job_ids else 200)

    def list(self) -> Reply:
        """One page of the jobs that match."""
        query = read_query(request, LIST_QUERY)
        page = {"limit": query.pop("limit", DEFAULT_LIMIT), "cursor": query.pop("cursor", None)}
        answer = self._scheduler.send(msgspec.convert({**page, "wanted": query}, List))
        if not isinstance(answer, Json) or answer.cursor is None:
            return message_reply(answer)
        return json_reply(answer.body, headers={"Link": _next_link(request, answer.cursor)})

    def count(self) -> Reply:
        """The number of jobs that match."""
        query = read_query(request, COUNT_QUERY)
        return message_reply(self._scheduler.send(msgspec.convert({"wanted": query}, CountMatching)))

    def cancel_many(self) -> Reply:
        """Cancel one chunk of the selected jobs."""
        return self._change_many(Verb.CANCEL)

    def retry_many(self) -> Reply:
        """Retry one chunk of the selected jobs."""
        return self._change_many(Verb.RETRY)

    def delete_many(self) -> Reply:
        """Delete those of one chunk of the selected jobs that have ended."""
        read_query(request, ())
        media_type(request.environ, (JSON,))
        return message_reply(self._scheduler.send(DeleteMany(body=read_body(request.environ), **_asked_by())))

    def failures(self) -> Reply:
        """The failed jobs by task and kind of error."""
        query = read_query(request, FAILURES_QUERY)
        return message_reply(self._scheduler.send(msgspec.convert(query, ListFailures)))

    def tasks(self) -> Reply:
        """The tasks for which jobs can be submitted."""
        read_query(request, ())
        return message_reply(self._scheduler.send(ListTasks()))

    def find(self) -> Reply:
        """One job, with its ID in the query."""
        query = read_query(request, FIND_QUERY)
        if "job_id" not in query:
            raise InvalidRequest("invalid_job_id", "job_id is missing: /job?job_id=… takes a job's 24 hexadecimal digits", "job_id")
        return self._found(str(query["job_id"]), query.get("wait_s", 0.0))

    def show(self, job_id: str) -> Reply:
        """One job, with its ID in the path."""
        query = read_query(request, SHOW_QUERY)
        return self._found(read_job_id(job_id), query.get("wait_s", 0.0))

    def executions(self, job_id: str) -> Reply:
        """The executions of a job."""
        read_query(request, ())
        return message_reply(self._scheduler.send(ListExecutions(job_id=read_job_id(job_id))))

    def cancel(self, job_id: str) -> Reply:
        """Cancel a job."""
        read_query(request, ())
        return message_reply(self._scheduler.send(CancelJob(job_id=read_job_id(job_id), **_asked_by())))

    def retry(self, job_id: str) -> Reply:
        """Retry a job: it gets a fresh set of retries, and what the body says besides."""
        read_query(request, ())
        asked = RetryJob(job_id=read_job_id(job_id), body=read_optional_body(request.environ), **_asked_by())
        return message_reply(self._scheduler.send(asked))

    def run(self, job_id: str) -> Reply:
        """Make a pending job due now."""
        read_query(request, ())
        return message_reply(self._scheduler.send(RunJob(job_id=read_job_id(job_id), **_asked_by())))

    def tag(self, job_id: str) -> Reply:
        """Replace a job's tags."""
        read_query(request, ())
        media_type(request.environ, (JSON,))
        asked = TagJob(job_id=read_job_id(job_id), body=read_body(request.environ), **_asked_by())
        return message_reply(self._scheduler.send(asked))

    def delete(self, job_id: str) -> Reply:
        """Delete an ended job."""
        read_query(request, ())
        return message_reply(self._scheduler.send(DeleteJob(job_id=read_job_id(job_id), **_asked_by())))

    def _found(self, job_id: str, wait_s: object) -> Reply:
        """The job's current state. If the client wants to wait and the job has not ended, the request becomes a long poll."""
        answer = self._scheduler.send(Find(job_id=job_id))
        if wait_s and request.method == "GET" and isinstance(answer, Json) and not _has_ended(answer.body):
            wait_for_end(
                request.environ, job_id, float(str(wait_s)), lambda: message_reply(self._scheduler.send(Find(job_id=job_id)))
            )
        return message_reply(answer)

    def _change_many(self, verb: Verb) -> Reply:
        read_query(request, ())
        media_type(request.environ, (JSON,))
        return message_reply(self._scheduler.send(ChangeMany(verb=verb, body=read_body(request.environ), **_asked_by())))

    def _submit(self, environ: Environ, form: str, count: int) -> Submit:
        body = read_body(environ, may_be_empty=form == "ndjson")
        with self._lock:
            first_id = self._world.reserve_ids(count)
        return Submit(
            form=form, body=body, first_id=first_id, deadline=self._scheduler.submit_deadline(),
            idempotency_key=_header_key(environ), by=client_of(environ), request_id=request_id_of(environ),
        )  # fmt: skip

    def _status_of(self, job_id: str) -> str:
        answer = self._scheduler.send(Find(job_id=job_id))
        return str(msgspec.json.decode(answer.body)["status"]) if isinstance(answer, Json) else "pending"


def _asked_by() -> dict[str, str]:
    """Whose request this is, for the log."""
    return {"by": client_of(request.environ), "request_id": request_id_of(request.environ)}


def _uniqueness(answer: Accepted) -> dict[str, bool]:
    """What the answer about one job says of its unique key, if it has one."""
    if answer.existing is None:
        return {}
    return {"existing": bool(answer.existing)} | ({"replaced": True} if answer.replaced else {})


class _Shown(msgspec.Struct):
    status: Status


def _has_ended(job: bytes) -> bool:
    return msgspec.json.decode(job, type=_Shown).status in TERMINAL


def _decoded(header: str | None) -> str | None:
    """The header as the client sent it: WSGI decodes it as Latin-1, but clients send UTF-8 (RFC 9110, 5.5 leaves it open)."""
    try:
        return None if header is None else header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header


def _header_key(environ: Environ) -> str | None:
    key = _decoded(environ.get("HTTP_IDEMPOTENCY_KEY"))
    if key is not None and not (1 <= len(key) <= 255 and key.isprintable()):
        raise InvalidRequest("invalid_field", "the Idempotency-Key header must be 1 to 255 printable characters", "idempotency_key")
    return key


def _next_link(given: Request, cursor: str) -> str:
    """A URL relative to that of the request, so that it also works behind a proxy that adds a path prefix."""
    query = [(name, value) for name, value in given.args.items(multi=True) if name != "cursor"] + [("cursor", cursor)]
    return f'<{given.path.rpartition("/")[2]}?{urlencode(query)}>; rel="next"'
