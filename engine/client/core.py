"""THE operations of the client, written once, without a socket, a thread or an event loop (see `steps.py`).

    client.get(id) ──▶ Core.get ─ Request ──▶ httpx ──▶ Response ─▶ Core.get ──▶ Job
                            └───── Pause ──▶ sleep ──▶ None ──────┘

Idempotent requests are repeated, with growing pauses, until `retry_s` is over: reads, and submissions, each of which carries an
idempotency key, given or generated here. When the answer to a cancel or a retry is lost, it may or may not have been carried out.
So the job is read first: its epoch shows whether a retry was done, its status whether a cancel was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from jobyard.engine.client.answers import error_of, is_temporary, is_uncertain, retry_after_s, value_of
from jobyard.engine.client.batches import Chunk, encode_job, fields_of, with_resume_hint, without_none
from jobyard.engine.client.steps import Operation, Pause, Request, Response
from jobyard.engine.client.values import Execution, Health, Job, Named
from jobyard.engine.errors import Conflict, JobyardError, NotFinished, NotFound, Rejected, Unavailable, Unreachable
from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.json_text import to_json_text
from jobyard.engine.world import World

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
MIN_POLL_S = 0.02
MAX_POLL_S = 2.0
MAX_WAIT_S = 30.0
FULL_WAIT_SHARE = 0.9
"""An answer before this share of the requested wait means that the service did not wait: it stops, or does not support it."""
MIN_WAIT_S = 0.1
GRACE_S = 1.0
"""Allowed for the transfer of the answer."""
OVERLOADED = "overloaded"
"""The service cannot let another client wait."""
POLL_SHARE = 0.25
"""A job that has been waited for t seconds is polled again after t/4, so its end is noticed late by a fifth of the wait at most."""
KEY_BITS = 128
JOBS = "/api/jobs"
_NEXT = re.compile(r'<[^>?]*\?([^>]*)>\s*;[^,]*\brel="?next"?')
_IN_BATCH = re.compile(r"jobs\[(\d+)\]\.?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. `next_path`: the path of the next page; None on the last one."""

    jobs: list[Job]
    next_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The answer to a submission."""

    job_id: str
    existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedBatch:
    """The answer to a batch. `existing`: the indexes of the jobs that had been accepted before."""

    job_ids: list[str]
    existing: tuple[int, ...] = ()

    def jobs(self) -> list[Submitted]:
        """The same, one by one."""
        known = set(self.existing)
        return [Submitted(job_id=job_id, existing=index in known) for index, job_id in enumerate(self.job_ids)]


class OutcomeUncertain(Exception):
    """It is unknown whether a request was carried out, and it is not idempotent."""

    def __init__(self, error: JobyardError) -> None:
        super().__init__(error)
        self.error = error


class Core:
    """All operations. It has no state that an operation changes."""

    def __init__(self, world: World, *, retry_s: float) -> None:
        self._world = world
        self.retry_s = retry_s

    def submit(self, task: str | Named, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation[Submitted]:
        """Submit one job: `args` and `kwargs` are those of `Client.submit` behind the task."""
        fields = {"idempotency_key": self.new_key(), **without_none(fields_of(task, args, kwargs))}
        response = yield from self._ask(Request(method="POST", path=JOBS, body=encode_job(fields)))
        return value_of(response, Submitted)

    def submit_chunk(self, chunk: Chunk) -> Operation[list[Submitted]]:
        """Submit a chunk; its jobs in order. Errors name a job's index among all jobs, not in the chunk."""
        try:
            response = yield from self._ask(Request(method="POST", path=f"{JOBS}/batch", body=chunk.body))
        except JobyardError as wrong:
            raise _with_job_index(wrong, chunk) from wrong.__cause__
        return value_of(response, SubmittedBatch).jobs()

    def get(self, job_id: str) -> Operation[Job]:
        """The job as it is now."""
        return value_of((yield from self._ask(Request(method="GET", path=_path(job_id)))), Job)

    def executions(self, job_id: str) -> Operation[list[Execution]]:
        """Its attempts, oldest first."""
        response = yield from self._ask(Request(method="GET", path=_path(job_id, "/executions")))
        return value_of(response, list[Execution])

    def wait(self, job_id: str, timeout_s: float | None) -> Operation[Job]:
        """The job once it has finished; raises `NotFinished`. Uses the service's long poll, else polls."""
        began = self._world.monotonic()
        give_up_at = float("inf") if timeout_s is None else began + timeout_s
        last_seen = "not known"
        may_long_poll = True
        while True:
            asked_at = self._world.monotonic()
            request = _long_poll_request(job_id, give_up_at - asked_at, may_long_poll)
            try:
                no_retry_code = OVERLOADED if may_long_poll else None
                job = value_of((yield from self._ask(request, give_up_at=give_up_at, no_retry_code=no_retry_code)), Job)
            except (Unreachable, Unavailable) as wrong:
                if may_long_poll and wrong.code == OVERLOADED:
                    may_long_poll = False
                    continue
                if give_up_at > asked_at + self.retry_s:
                    raise
                raise _not_finished(job_id, timeout_s, f"{last_seen}; last answer: {wrong.message}") from wrong
            if job.is_finished:
                return job
            last_seen = f"{job.status}"
            now = self._world.monotonic()
            if now >= give_up_at:
                raise _not_finished(job_id, timeout_s, last_seen)
            if now - asked_at <= request.wait_s * FULL_WAIT_SHARE:
                pause_s = min(max(MIN_POLL_S, (now - began) * POLL_SHARE), MAX_POLL_S)
                yield Pause(seconds=min(pause_s, give_up_at - now))

    def cancel(self, job_id: str) -> Operation[Job]:
        """Cancel the job; the job, cancelled or (if running) about to be."""
        request = Request(method="POST", path=_path(job_id, "/cancel"), is_idempotent=False)
        return (yield from self._change_once(request, job_id, lambda job: job.status is Status.CANCELLED))

    def retry(self, job_id: str, edits: Mapping[str, Any] | None = None) -> Operation[Job]:
        """Retry the job with these edits (`RetryEdits`); the job, pending or blocked again."""
        given = without_none(edits or {})
        body = to_json_text(given, root="body") if given else None
        before = yield from self.get(job_id)
        request = Request(method="POST", path=_path(job_id, "/retry"), body=body, is_idempotent=False)
        return (yield from self._change_once(request, job_id, lambda job: job.epoch > before.epoch))

    def delete(self, job_id: str) -> Operation[None]:
        """Delete the job. When an answer was lost and the job is gone, it was this request that deleted it, or one like it."""
        give_up_at = self._world.monotonic() + self.retry_s
        request = Request(method="DELETE", path=_path(job_id), is_idempotent=False)
        was_lost = False
        while True:
            try:
                yield from self._ask(request, give_up_at=give_up_at)
                return
            except NotFound:
                if not was_lost:
                    raise
                return
            except OutcomeUncertain as lost:
                was_lost = True
                if self._world.monotonic() + FIRST_PAUSE_S >= give_up_at:
                    raise lost.error from None
            yield Pause(seconds=FIRST_PAUSE_S)

    def page(self, path: str) -> Operation[Page]:
        """The page at this path; see `list_path`."""
        response = yield from self._ask(Request(method="GET", path=path))
        found = _NEXT.search(response.headers.get("link", ""))
        return Page(jobs=value_of(response, list[Job]), next_path=f"{JOBS}?{found[1]}" if found else None)

    def stats(self) -> Operation[dict[str, Any]]:
        """The counters of everything."""
        return value_of((yield from self._ask(Request(method="GET", path="/stats"))), dict[str, Any])

    def health(self) -> Operation[Health]:
        """The health at this moment: the request is not repeated, and "unhealthy" is an answer, not an error."""
        answer = yield Request(method="GET", path="/health")
        assert answer is not None
        if isinstance(answer, Response) and answer.status in (200, 503) and b'"components"' in answer.body:
            return value_of(answer, Health)
        raise error_of(answer)

    def ask(self, method: str, path: str, body: Any = None) -> Operation[Any]:
        """The decoded answer to any request of the HTTP interface, or its text, as of `/metrics`.

        After a lost answer only GET and PUT are repeated.
        """
        sent = None if body is None else to_json_text(body, root="body")
        request = Request(method=method, path=path, body=sent, is_idempotent=method in ("GET", "PUT"))
        try:
            response = yield from self._ask(request)
            if response.headers.get("content-type", "").startswith("text/plain"):
                return response.body.decode()
            return None if response.status == 204 else value_of(response, Any)
        except OutcomeUncertain as lost:
            raise lost.error from None

    def ask_page(self, path: str) -> Operation[tuple[Any, str | None]]:
        """The decoded page of a list, and the path of the next page."""
        response = yield from self._ask(Request(method="GET", path=path))
        found = _NEXT.search(response.headers.get("link", ""))
        return value_of(response, Any), f"{path.partition('?')[0]}?{found[1]}" if found else None

    def new_key(self) -> str:
        """A unique idempotency key."""
        return self._world.token(KEY_BITS)

    def _ask(
        self, request: Request, *, give_up_at: float = float("inf"), no_retry_code: str | None = None
    ) -> Operation[Response]:  # fmt: skip
        """The answer if it is a 200 or 201. Temporary errors are retried until the time is up, then the last one is raised.

        `no_retry_code`: an error code that is raised at once.
        """
        give_up_at = min(give_up_at, self._world.monotonic() + self.retry_s)
        pause_s = FIRST_PAUSE_S
        while True:
            answer = yield request
            assert answer is not None
            if isinstance(answer, Response) and answer.status in (200, 201, 204):
                return answer
            error = error_of(answer)
            if not request.is_idempotent and is_uncertain(answer):
                raise OutcomeUncertain(error)
            wait_s = max(retry_after_s(answer), pause_s) + self._world.jitter(pause_s / 2)
            if error.code == no_retry_code or not is_temporary(answer) or self._world.monotonic() + wait_s >= give_up_at:
                raise error
            yield Pause(seconds=wait_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _change_once(self, request: Request, job_id: str, is_done: Callable[[Job], bool]) -> Operation[Job]:
        """Send a request that is not idempotent. When its answer is lost, read the job to see whether it was carried out."""
        give_up_at = self._world.monotonic() + self.retry_s
        was_lost = False
        while True:
            try:
                return value_of((yield from self._ask(request, give_up_at=give_up_at)), Job)
            except OutcomeUncertain as lost:
                was_lost, wrong = True, lost.error
            except Conflict as refused:
                if not was_lost:
                    raise
                wrong = refused
            job = yield from self.get(job_id)
            if is_done(job):
                return job
            if isinstance(wrong, Conflict) or self._world.monotonic() + FIRST_PAUSE_S >= give_up_at:
                raise wrong
            yield Pause(seconds=FIRST_PAUSE_S)


def list_path(*, page: int, **wanted: datetime | str | Sequence[str] | None) -> str:
    """The path of the first page of a filtered list; a sequence is a parameter that is given several times."""
    asked = {name: value for name, value in wanted.items() if value is not None}
    query = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asked.items()}
    return f"{JOBS}?{urlencode({**query, 'limit': page}, doseq=True)}"


def _long_poll_request(job_id: str, left_s: float, may_long_poll: bool) -> Request:
    """A request that the service answers when the job has finished, or early enough to be repeated before the time is up."""
    wait_s = min(MAX_WAIT_S, left_s - min(GRACE_S, left_s / 2)) if may_long_poll and left_s > MIN_WAIT_S else 0.0
    path = f"{_path(job_id)}?wait_s={wait_s:.3f}" if wait_s else _path(job_id)
    timeout_s = None if left_s == float("inf") else max(MIN_POLL_S, left_s - wait_s)
    return Request(method="GET", path=path, timeout_s=timeout_s, wait_s=wait_s)


def _path(job_id: str, rest: str = "") -> str:
    return f"{JOBS}/{quote(job_id, safe='')}{rest}"


def _with_job_index(wrong: JobyardError, chunk: Chunk) -> JobyardError:
    found = _IN_BATCH.fullmatch(wrong.field or "") if isinstance(wrong, Rejected) else None
    if found is None:
        return with_resume_hint(wrong, stored=chunk.first, key=chunk.key)
    message = wrong.message.removeprefix(f"jobs[{found[1]}]: ")
    located = type(wrong)(wrong.code, message, found[2] or None)
    return with_resume_hint(located, stored=chunk.first, key=chunk.key, index=chunk.first + int(found[1]))


def _not_finished(job_id: str, timeout_s: float | None, last_seen: str) -> NotFinished:
    return NotFinished(f"job {job_id} had not ended after {timeout_s} s; it was {last_seen}")
