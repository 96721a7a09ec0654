"""Simulated clients: they submit, repeat unanswered requests, cancel and retry, and report the answers to the checker.

As in the gateway, ids are reserved before the request is sent, and the same request goes to another scheduler when the first one
does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from jobyard.engine.jobs.job import Status
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, CancelJob, Closed, Json, Refused, RetryJob, Submit
from jobyard.engine.world import later_id
from tests.simulation.checker import Checker
from tests.simulation.event_queue import EventQueue, Violation
from tests.simulation.host import Host
from tests.simulation.network import End

TIMEOUT_S = 5.0
LONG_TIMEOUT_S = 20.0
EXPECTED_REFUSALS = (
    "database_unavailable", "unavailable", "conflict", "idempotency_conflict", "not_found", "overloaded", "outcome_unknown",
    "blocked_by", "unknown_job", "unknown_group", "group_ended",
)  # fmt: skip


class Call:
    """One request to one scheduler."""

    def __init__(
        self, event_queue: EventQueue, host: Host, address: str, request: Message, on_answer: Callable[[Message | None], None]
    ) -> None:  # fmt: skip
        self.name = "client"
        self._queue = event_queue
        self._on_answer: Callable[[Message | None], None] | None = on_answer
        end = host.network.connect(self, address)
        event_queue.note("client", "→", host.name, address, type(request).__name__, getattr(request, "first_id", "")[-6:])
        if end is None or not end.send(request):
            event_queue.after(0.01, lambda: self._finish(None))
        self._timeout_at = event_queue.now + TIMEOUT_S + 0.5
        event_queue.at(self._timeout_at, lambda: self._check_timeout(end))

    def deliver(self, envelope: Envelope) -> None:
        """The answer, or the end of the connection; `Begun` extends the timeout."""
        if isinstance(envelope.message, Begun):
            self._timeout_at = self._queue.now + LONG_TIMEOUT_S
            return
        self._finish(None if isinstance(envelope.message, Closed) else envelope.message)

    def _check_timeout(self, end: End | None) -> None:
        if self._queue.now >= self._timeout_at:
            self._finish(None, end)
        else:
            self._queue.at(self._timeout_at, lambda: self._check_timeout(end))

    def _finish(self, answer: Message | None, end: End | None = None) -> None:
        if self._on_answer is None:
            return
        on_answer, self._on_answer = self._on_answer, None
        if end is not None:
            end.end()
        reported = answer.code if isinstance(answer, Refused) else type(answer).__name__ if answer is not None else "no answer"
        self._queue.note("client", "←", reported)
        if isinstance(answer, Refused) and answer.code not in EXPECTED_REFUSALS:
            raise Violation(f"a client got the error {answer.code}: {answer.message}")
        on_answer(answer)


class Clients:
    """All clients."""

    def __init__(self, event_queue: EventQueue, checker: Checker, hosts: list[Host]) -> None:
        self._queue = event_queue
        self._checker = checker
        self._hosts = hosts
        self._keys = 0
        self.repeat_rate = 0.0
        self.pending = 0

    def submit(self, jobs: list[dict[str, object]], *, key: str | None = None, host: Host | None = None, tries: int = 6) -> None:
        """Submit jobs, until a scheduler accepts them or the tries are used up."""
        host = host or self._queue.chance.choice(self._hosts)
        first_id = host.world.reserve_ids(len(jobs))
        request = Submit(
            form="batch" if len(jobs) > 1 else "job", first_id=first_id, deadline=0.0, idempotency_key=key,
            body=json.dumps({"jobs": jobs} if len(jobs) > 1 else jobs[0]).encode(),
        )  # fmt: skip
        ids = [later_id(first_id, index) for index in range(len(jobs))]
        self.pending += 1
        self._try(request, ids, host, tries, is_uncertain=False)

    def cancel_or_retry(self, ask: type[CancelJob] | type[RetryJob]) -> None:
        """Change one of the accepted jobs; a cancel prefers an unfinished one."""
        known = list(self._checker.accepted)
        unfinished = [job_id for job_id in known if not self._checker.is_finished(job_id)] if ask is CancelJob else []
        if not known:
            return
        self.send_change(ask, self._queue.chance.choice(unfinished or known), host=self._queue.chance.choice(self._hosts))

    def send_change(self, ask: type[CancelJob] | type[RetryJob], job_id: str, *, host: Host) -> None:
        """Send the request for this job."""
        Call(self._queue, host, self._a_scheduler(host), ask(job_id=job_id), lambda answer: self._note_change(ask, job_id, answer))

    def _try(self, request: Submit, ids: list[str], host: Host, tries: int, *, is_uncertain: bool) -> None:
        request = msgspec.structs.replace(request, deadline=host.world.monotonic() + TIMEOUT_S)
        self._checker.deadlines |= dict.fromkeys(ids, self._queue.now + TIMEOUT_S)
        repeats = 2 if self._queue.happens(self.repeat_rate) else 1
        answers: list[Message | None] = []

        def on_answer(answer: Message | None) -> None:
            answers.append(answer)
            if isinstance(answer, Accepted):
                self._checker.note_accepted(answer.job_ids, request.idempotency_key)
            if len(answers) == repeats:
                self._evaluate(answers, request, ids, host, tries, is_uncertain=is_uncertain)

        for _ in range(repeats):
            Call(self._queue, host, self._a_scheduler(host), request, on_answer)

    def _evaluate(
        self, answers: list[Message | None], request: Submit, ids: list[str], host: Host, tries: int, *, is_uncertain: bool
    ) -> None:  # fmt: skip
        if any(isinstance(answer, Accepted) for answer in answers):
            self.pending -= 1
            return
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        is_uncertain = is_uncertain or len(refused) < len(answers) or any(answer.code == "outcome_unknown" for answer in refused)
        if not is_uncertain:
            self._checker.note_refused(ids, refused[0].message)
        if tries > 1 and not any(answer.code == "idempotency_conflict" for answer in refused):
            pause_s = self._queue.between(0, 2)
            self._queue.after(pause_s, lambda: self._try(request, ids, host, tries - 1, is_uncertain=is_uncertain))
        else:
            self.pending -= 1

    def _note_change(self, ask: type[CancelJob] | type[RetryJob], job_id: str, answer: Message | None) -> None:
        if isinstance(answer, Json):
            reported = json.loads(answer.body)
            fair = (Status.CANCELLED, Status.RUNNING) if ask is CancelJob else (Status.PENDING, Status.BLOCKED)
            if reported["job_id"] != job_id or reported["status"] not in fair:
                raise Violation(f"{ask.__name__} of {job_id} was answered with {reported}")

    def _a_scheduler(self, host: Host) -> str:
        return self._queue.chance.choice(host.network.components("scheduler"))
