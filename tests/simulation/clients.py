"""Clients, played: they submit, repeat what was not answered, cancel and retry, and tell the judge what they were told.

As the gateway does it: the ids are reserved before the request is sent, and the same request goes to another scheduler when the
first one does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from jobyard.engine.jobs.job import Status
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Accepted, Begun, CancelJob, Closed, Json, Message, Refused, RetryJob, Submit
from jobyard.engine.world import later_id
from tests.simulation.agenda import Agenda, Violation
from tests.simulation.host import Host
from tests.simulation.judge import Judge
from tests.simulation.network import End

PATIENCE_S = 5.0
LONG_PATIENCE_S = 20.0
FAIR_REFUSALS = (
    "database_unavailable", "unavailable", "conflict", "idempotency_conflict", "not_found", "overloaded", "outcome_unknown",
)  # fmt: skip


class Call:
    """One request to one scheduler."""

    def __init__(
        self, agenda: Agenda, host: Host, address: str, request: Message, answered: Callable[[Message | None], None]
    ) -> None:  # fmt: skip
        self.name = "client"
        self._agenda = agenda
        self._answered: Callable[[Message | None], None] | None = answered
        end = host.network.connect(self, address)
        agenda.note("client", "→", host.name, address, type(request).__name__, getattr(request, "first_id", "")[-6:])
        if end is None or not end.send(request):
            agenda.after(0.01, lambda: self._take(None))
        self._gives_up_at = agenda.now + PATIENCE_S + 0.5
        agenda.at(self._gives_up_at, lambda: self._look_at_the_clock(end))

    def arrive(self, envelope: Envelope) -> None:
        """The answer, or the end of the line; `Begun` says that it may take longer."""
        if isinstance(envelope.message, Begun):
            self._gives_up_at = self._agenda.now + LONG_PATIENCE_S
            return
        self._take(None if isinstance(envelope.message, Closed) else envelope.message)

    def _look_at_the_clock(self, end: End | None) -> None:
        if self._agenda.now >= self._gives_up_at:
            self._take(None, end)
        else:
            self._agenda.at(self._gives_up_at, lambda: self._look_at_the_clock(end))

    def _take(self, answer: Message | None, end: End | None = None) -> None:
        if self._answered is None:
            return
        answered, self._answered = self._answered, None
        if end is not None:
            end.end()
        told = answer.code if isinstance(answer, Refused) else type(answer).__name__ if answer is not None else "no answer"
        self._agenda.note("client", "←", told)
        if isinstance(answer, Refused) and answer.code not in FAIR_REFUSALS:
            raise Violation(f"a client was told {answer.code}: {answer.message}")
        answered(answer)


class Clients:
    """All of them."""

    def __init__(self, agenda: Agenda, judge: Judge, hosts: list[Host]) -> None:
        self._agenda = agenda
        self._judge = judge
        self._hosts = hosts
        self._keys = 0
        self.repeat_rate = 0.0
        self.pending = 0

    def submit(self, jobs: list[dict[str, object]], *, key: str | None = None, host: Host | None = None, tries: int = 6) -> None:
        """Until somebody has answered it, or six have not."""
        host = host or self._agenda.chance.choice(self._hosts)
        first_id = host.world.reserve_ids(len(jobs))
        request = Submit(
            form="batch" if len(jobs) > 1 else "job", first_id=first_id, deadline=0.0, idempotency_key=key,
            body=json.dumps({"jobs": jobs} if len(jobs) > 1 else jobs[0]).encode(),
        )  # fmt: skip
        ids = [later_id(first_id, index) for index in range(len(jobs))]
        self.pending += 1
        self._try(request, ids, host, tries, is_doubtful=False)

    def cancel_or_retry(self, ask: type[CancelJob] | type[RetryJob]) -> None:
        """Some job that was accepted; one that is on its way rather than one that has ended."""
        known = list(self._judge.accepted)
        moving = [job_id for job_id in known if not self._judge.has_ended(job_id)] if ask is CancelJob else []
        if not known:
            return
        self.ask_to_change(ask, self._agenda.chance.choice(moving or known), host=self._agenda.chance.choice(self._hosts))

    def ask_to_change(self, ask: type[CancelJob] | type[RetryJob], job_id: str, *, host: Host) -> None:
        """This job."""
        Call(self._agenda, host, self._a_scheduler(host), ask(job_id=job_id), lambda answer: self._note_change(ask, job_id, answer))

    def _try(self, request: Submit, ids: list[str], host: Host, tries: int, *, is_doubtful: bool) -> None:
        request = msgspec.structs.replace(request, deadline=host.world.monotonic() + PATIENCE_S)
        self._judge.deadlines |= dict.fromkeys(ids, self._agenda.now + PATIENCE_S)
        repeats = 2 if self._agenda.happens(self.repeat_rate) else 1
        heard: list[Message | None] = []

        def answered(answer: Message | None) -> None:
            heard.append(answer)
            if isinstance(answer, Accepted):
                self._judge.note_accepted(answer.job_ids, request.idempotency_key)
            if len(heard) == repeats:
                self._look_at(heard, request, ids, host, tries, is_doubtful=is_doubtful)

        for _ in range(repeats):
            Call(self._agenda, host, self._a_scheduler(host), request, answered)

    def _look_at(
        self, heard: list[Message | None], request: Submit, ids: list[str], host: Host, tries: int, *, is_doubtful: bool
    ) -> None:  # fmt: skip
        if any(isinstance(answer, Accepted) for answer in heard):
            self.pending -= 1
            return
        refused = [answer for answer in heard if isinstance(answer, Refused)]
        is_doubtful = is_doubtful or len(refused) < len(heard) or any(answer.code == "outcome_unknown" for answer in refused)
        if not is_doubtful:
            self._judge.note_refused(ids, refused[0].message)
        if tries > 1 and not any(answer.code == "idempotency_conflict" for answer in refused):
            pause_s = self._agenda.between(0, 2)
            self._agenda.after(pause_s, lambda: self._try(request, ids, host, tries - 1, is_doubtful=is_doubtful))
        else:
            self.pending -= 1

    def _note_change(self, ask: type[CancelJob] | type[RetryJob], job_id: str, answer: Message | None) -> None:
        if isinstance(answer, Json):
            told = json.loads(answer.body)
            fair = (Status.CANCELLED, Status.RUNNING) if ask is CancelJob else (Status.PENDING,)
            if told["job_id"] != job_id or told["status"] not in fair:
                raise Violation(f"{ask.__name__} of {job_id} was answered with {told}")

    def _a_scheduler(self, host: Host) -> str:
        return self._agenda.chance.choice(host.network.components("scheduler"))
