"""THE operations of the client, written once, without a socket, a thread or an event loop (see `steps.py`).

    client.get(id) ──▶ Core.get ─ Request ──▶ httpx ──▶ Response ─▶ Core.get ──▶ Job
                            └───── Pause ──▶ sleep ──▶ None ──────┘

What may be sent twice without harm is sent again, with growing pauses, until `retry_s` is over: questions; submissions, each of
which carries an idempotency key, given or made here. When the answer to a cancel or a retry is lost, it is not known whether it was
done, so the job is read first: the epoch tells whether a retry was done, the status whether a cancel was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from jobyard.engine.client.answers import error_of, is_temporary, is_uncertain, retry_after_s, value_of
from jobyard.engine.client.batches import Chunk, encode_job, given, remark
from jobyard.engine.client.steps import Operation, Pause, Request, Response
from jobyard.engine.client.values import Execution, Health, Job, Named
from jobyard.engine.errors import Conflict, JobyardError, NotFinished, Rejected, Unavailable, Unreachable
from jobyard.engine.jobs.job import Status
from jobyard.engine.world import World

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
FIRST_LOOK_S = 0.02
LONGEST_LOOK_S = 2.0
LONGEST_WAIT_S = 30.0
WAITED = 0.9
"""An answer that comes earlier than in this part of the wait that was asked for is no wait: the service leaves, or cannot wait."""
LEAST_WAIT_S = 0.1
GRACE_S = 1.0
"""For the answer's way."""
FULL = "overloaded"
"""The service has no place for one more who waits."""
PART_OF_THE_WAIT = 0.25
"""A look at a job that has been waited for t seconds comes t/4 later: its end is seen late by a fifth of its time at most."""
KEY_BITS = 128
JOBS = "/api/jobs"
_NEXT = re.compile(r'<[^>?]*\?([^>]*)>\s*;[^,]*\brel="?next"?')
_IN_BATCH = re.compile(r"jobs\[(\d+)\]\.?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some jobs of a list. `next_path`: the request for those that follow."""

    jobs: list[Job]
    next_path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The answer to a submission."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedTogether:
    """The answer to a batch."""

    job_ids: list[str]


class Unsettled(Exception):
    """Nobody knows whether a request was done, and it must not simply be sent again."""

    def __init__(self, error: JobyardError) -> None:
        super().__init__(error)
        self.error = error


class Core:
    """Every operation; holds nothing that one of them changes."""

    def __init__(self, world: World, *, retry_s: float) -> None:
        self._world = world
        self._retry_s = retry_s

    def submit(self, task: str | Named, payload: Any, options: Mapping[str, Any]) -> Operation[str]:
        """The new job's id."""
        fields = {"idempotency_key": self.new_key(), "task": task, "payload": payload, **given(options)}
        response = yield from self._ask(Request(method="POST", path=JOBS, body=encode_job(fields)))
        return value_of(response, Submitted).job_id

    def submit_chunk(self, chunk: Chunk) -> Operation[list[str]]:
        """The ids in the order of the jobs. Errors name a job's place among all jobs, not in the chunk."""
        try:
            response = yield from self._ask(Request(method="POST", path=f"{JOBS}/batch", body=chunk.body))
        except JobyardError as wrong:
            raise _relocated(wrong, chunk) from wrong.__cause__
        return value_of(response, SubmittedTogether).job_ids

    def get(self, job_id: str) -> Operation[Job]:
        """The job as it is now."""
        return value_of((yield from self._ask(Request(method="GET", path=_path(job_id)))), Job)

    def executions(self, job_id: str) -> Operation[list[Execution]]:
        """Its attempts, oldest first."""
        response = yield from self._ask(Request(method="GET", path=_path(job_id, "/executions")))
        return value_of(response, list[Execution])

    def wait(self, job_id: str, timeout_s: float | None) -> Operation[Job]:
        """The job once it has ended; raises `NotFinished`. The service is asked to answer then; else it is looked again."""
        began = self._world.monotonic()
        give_up_at = float("inf") if timeout_s is None else began + timeout_s
        seen = "not known"
        can_wait = True
        while True:
            asked_at = self._world.monotonic()
            request = _when_it_ends(job_id, give_up_at - asked_at, can_wait)
            try:
                job = value_of((yield from self._ask(request, give_up_at=give_up_at, unless=FULL if can_wait else None)), Job)
            except (Unreachable, Unavailable) as wrong:
                if can_wait and wrong.code == FULL:
                    can_wait = False
                    continue
                if give_up_at > asked_at + self._retry_s:
                    raise
                raise _not_finished(job_id, timeout_s, f"{seen}; last answer: {wrong.message}") from wrong
            if job.is_finished:
                return job
            seen = f"{job.status}"
            now = self._world.monotonic()
            if now >= give_up_at:
                raise _not_finished(job_id, timeout_s, seen)
            if now - asked_at <= request.wait_s * WAITED:
                pause_s = min(max(FIRST_LOOK_S, (now - began) * PART_OF_THE_WAIT), LONGEST_LOOK_S)
                yield Pause(seconds=min(pause_s, give_up_at - now))

    def cancel(self, job_id: str) -> Operation[Job]:
        """The job, cancelled or (running) about to be."""
        request = Request(method="POST", path=_path(job_id, "/cancel"), harmless_twice=False)
        return (yield from self._do_once(request, job_id, lambda job: job.status is Status.CANCELLED))

    def retry(self, job_id: str) -> Operation[Job]:
        """The job, pending again."""
        before = yield from self.get(job_id)
        request = Request(method="POST", path=_path(job_id, "/retry"), harmless_twice=False)
        return (yield from self._do_once(request, job_id, lambda job: job.epoch > before.epoch))

    def page(self, path: str) -> Operation[Page]:
        """The page of a list that is at this path; see `list_path`."""
        response = yield from self._ask(Request(method="GET", path=path))
        found = _NEXT.search(response.headers.get("link", ""))
        return Page(jobs=value_of(response, list[Job]), next_path=f"{JOBS}?{found[1]}" if found else None)

    def stats(self) -> Operation[dict[str, Any]]:
        """The counters of everything."""
        return value_of((yield from self._ask(Request(method="GET", path="/stats"))), dict[str, Any])

    def health(self) -> Operation[Health]:
        """As it is at this moment: nothing is asked again, and ill health is an answer."""
        answer = yield Request(method="GET", path="/health")
        assert answer is not None
        if isinstance(answer, Response) and answer.status in (200, 503) and b'"components"' in answer.body:
            return value_of(answer, Health)
        raise error_of(answer)

    def ask(self, method: str, path: str, body: Any = None) -> Operation[Any]:
        """What a request of the HTTP interface gives, decoded. Only a question is asked again when its answer was lost."""
        sent = None if body is None else msgspec.json.encode(body)
        request = Request(method=method, path=path, body=sent, harmless_twice=method == "GET")
        try:
            return value_of((yield from self._ask(request)), Any)
        except Unsettled as lost:
            raise lost.error from None

    def ask_page(self, path: str) -> Operation[tuple[Any, str | None]]:
        """The same for a page of a list, and the path of the next one."""
        response = yield from self._ask(Request(method="GET", path=path))
        found = _NEXT.search(response.headers.get("link", ""))
        return value_of(response, Any), f"{path.partition('?')[0]}?{found[1]}" if found else None

    def new_key(self) -> str:
        """An idempotency key that nobody else makes."""
        return self._world.token(KEY_BITS)

    def _ask(
        self, request: Request, *, give_up_at: float = float("inf"), unless: str | None = None
    ) -> Operation[Response]:  # fmt: skip
        """The answer, when it is a good one; what may help is tried again until the time is up, then the last error is raised.

        `unless` it has this code.
        """
        give_up_at = min(give_up_at, self._world.monotonic() + self._retry_s)
        pause_s = FIRST_PAUSE_S
        while True:
            answer = yield request
            assert answer is not None
            if isinstance(answer, Response) and answer.status in (200, 201):
                return answer
            error = error_of(answer)
            if not request.harmless_twice and is_uncertain(answer):
                raise Unsettled(error)
            wait_s = max(retry_after_s(answer), pause_s) + self._world.jitter(pause_s / 2)
            if error.code == unless or not is_temporary(answer) or self._world.monotonic() + wait_s >= give_up_at:
                raise error
            yield Pause(seconds=wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _do_once(self, request: Request, job_id: str, is_done: Callable[[Job], bool]) -> Operation[Job]:
        """For what must not be sent again blindly: when an answer was lost, the job tells whether it was done."""
        give_up_at = self._world.monotonic() + self._retry_s
        was_lost = False
        while True:
            try:
                return value_of((yield from self._ask(request, give_up_at=give_up_at)), Job)
            except Unsettled as lost:
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


def list_path(*, page: int, **wanted: datetime | str | None) -> str:
    """The first page of the jobs that are wanted."""
    asked = {name: value for name, value in wanted.items() if value is not None}
    query = {name: value.isoformat() if isinstance(value, datetime) else str(value) for name, value in asked.items()}
    return f"{JOBS}?{urlencode({**query, 'limit': page})}"


def _when_it_ends(job_id: str, left_s: float, can_wait: bool) -> Request:
    """Asks for a job so that the answer comes when it has ended, but in time, and early enough to be asked for again."""
    wait_s = min(LONGEST_WAIT_S, left_s - min(GRACE_S, left_s / 2)) if can_wait and left_s > LEAST_WAIT_S else 0.0
    path = f"{_path(job_id)}?wait_s={wait_s:.3f}" if wait_s else _path(job_id)
    timeout_s = None if left_s == float("inf") else max(FIRST_LOOK_S, left_s - wait_s)
    return Request(method="GET", path=path, timeout_s=timeout_s, wait_s=wait_s)


def _path(job_id: str, rest: str = "") -> str:
    return f"{JOBS}/{quote(job_id, safe='')}{rest}"


def _relocated(wrong: JobyardError, chunk: Chunk) -> JobyardError:
    found = _IN_BATCH.fullmatch(wrong.field or "") if isinstance(wrong, Rejected) else None
    if found is None:
        return remark(wrong, stored=chunk.first, key=chunk.key)
    message = wrong.message.removeprefix(f"jobs[{found[1]}]: ")
    located = type(wrong)(wrong.code, message, found[2] or None)
    return remark(located, stored=chunk.first, key=chunk.key, place=chunk.first + int(found[1]))


def _not_finished(job_id: str, timeout_s: float | None, seen: str) -> NotFinished:
    return NotFinished(f"job {job_id} had not ended after {timeout_s} s; it was {seen}")
