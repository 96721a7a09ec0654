"""What HTTP workers tell of the jobs that they have leased: everything that has arrived is decided, and written in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import Conflict, JobyardError, NotFound, Unavailable, changing_too_quickly
from jobyard.engine.jobs.job import ExecutionStatus, Job, Output, Status, to_json
from jobyard.engine.jobs.lifecycle import TERMINAL, Change
from jobyard.engine.leases.leased_job import seconds
from jobyard.engine.leases.requests import Do, Told, default_lease_s, read_settle, read_told
from jobyard.engine.leases.rules import change_for, is_repeated
from jobyard.engine.logs import Log
from jobyard.engine.metrics import count_attempt
from jobyard.engine.scheduler.group_commit import refused
from jobyard.engine.store.port import Store
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.lease_messages import SettleLeases
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json
from jobyard.engine.world import World

GUARD_TRIES = 5

Answer = Job | JobyardError
"""A job as it is after what was told of it, or why that changed nothing."""


@dataclass(slots=True)
class Telling:
    """One message and what it tells; `errors` are those of its items, by index."""

    peer: Peer
    message: SettleLeases
    told: list[Told]
    errors: dict[int, tuple[str, JobyardError]] = field(default_factory=dict)


class Settlements:
    """Those of one scheduler."""

    def __init__(self, *, settings: Settings, world: World, store: Store, log: Log) -> None:
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._came: list[Telling] = []
        self.attempts: dict[str, dict[str, int]] = {}
        self.counts = dict.fromkeys(("jobs_succeeded", "jobs_failed", "jobs_retried"), 0)
        self.has_ended = False
        """Whether a job has ended since this was last set to false: others may wait for it."""

        self.wakes: list[datetime] = []
        """When something that was settled is due again, or makes room for others; for who wakes the watchers."""

    @property
    def is_over(self) -> bool:
        """Whether everything has an answer."""
        return not self._came

    def take(self, peer: Peer, message: SettleLeases) -> None:
        """Read a message; `commit` answers it."""
        try:
            self._came.append(_read(peer, message))
        except JobyardError as wrong:
            peer.send(refused(wrong))

    def commit(self) -> None:
        """Decide and write all of it, in one commit unless others change the same jobs; then answer."""
        telling, self._came = self._came, []
        if not telling:
            return
        told = [one for each in telling for one in each.told]
        try:
            answers = self._settle(told)
        except Unavailable as fault:
            for each in telling:
                each.peer.send(refused(fault))
            return
        for each in telling:
            some, answers = answers[: len(each.told)], answers[len(each.told) :]
            each.peer.send(self._reply(each, some))

    # ---- deciding

    def _settle(self, told: Sequence[Told]) -> list[Answer]:
        """One answer each, in order. Where others changed a job meanwhile, it is decided again."""
        answers: list[Answer | None] = [None] * len(told)
        for _ in range(GUARD_TRIES):
            open_ = [index for index, answer in enumerate(answers) if answer is None]
            if not open_:
                break
            jobs = self._jobs([told[index] for index in open_])
            changes: list[tuple[int, Job, Change]] = []
            for index in open_:
                one = self._decide(told[index], jobs)
                if isinstance(one, tuple):
                    before, change = one
                    jobs[before.job_id] = change.after(before)
                    changes.append((index, before, change))
                else:
                    answers[index] = one
            for (index, before, change), done in zip(changes, self._store.apply([each[2] for each in changes]), strict=True):
                if done:
                    answers[index] = change.after(before)
                    self._note(told[index], before, change)
        busy = changing_too_quickly("the job")
        return [busy if answer is None else answer for answer in answers]

    def _jobs(self, told: Sequence[Told]) -> dict[str, Job]:
        ids = list(dict.fromkeys(one.job_id for one in told))
        return {job.job_id: job for job in self._store.find(ids) if job is not None}

    def _decide(self, told: Told, jobs: dict[str, Job]) -> tuple[Job, Change] | Answer:
        job = jobs.get(told.job_id)
        if job is None:
            return NotFound("not_found", f"there is no job {told.job_id}", "job_id")
        try:
            change = change_for(
                told, job, now=self._world.now(), lease_s=default_lease_s(self._settings.lease_s),
                retry_base_s=self._settings.retry_base_s, printed=self._printed(told, job),
            )  # fmt: skip
            return job, change
        except Conflict as lost:
            if told.do is Do.COMPLETE and job.status is Status.COMPLETED:
                last = next(iter(self._store.executions(job.job_id)[-1:]), None)
                return job if is_repeated(told, job, last) else lost
            return lost

    def _printed(self, told: Told, job: Job) -> Output | None:
        if told.output is None and told.progress is None:
            return None
        return next((one for one in self._store.outputs(job.job_id)[-1:] if one.attempt == job.attempt), None)

    def _note(self, told: Told, job: Job, change: Change) -> None:
        status = change.fields["status"]
        if change.execution is not None:
            count_attempt(self.attempts, job.task, change.execution.status, 1)
            if change.execution.status is not ExecutionStatus.SUCCESS:
                self._log.info(
                    "attempt_ended", job_id=job.job_id, attempt=job.attempt, worker=job.locked_by,
                    status=change.execution.status, error=(change.execution.error_message or "").split("\n")[0][:200],
                )  # fmt: skip
        if told.do is Do.COMPLETE:
            self.counts["jobs_succeeded"] += 1
        elif told.do is Do.FAIL:
            self.counts["jobs_failed"] += status is Status.FAILED
            self.counts["jobs_retried"] += status is Status.PENDING
        due_at = change.fields.get("scheduled_at")
        if status is Status.PENDING and isinstance(due_at, datetime):
            self.wakes.append(due_at)
        if job.lane is not None:  # what it leaves free is somebody's at once
            self.wakes.append(self._world.now())
        self.has_ended = self.has_ended or status in TERMINAL

    # ---- answering

    def _reply(self, telling: Telling, answers: list[Answer]) -> Message:
        if telling.message.do is None:
            rest = iter(zip(telling.told, answers, strict=True))
            count = len(telling.told) + len(telling.errors)
            rows = [_error_row(*telling.errors[i]) if i in telling.errors else self._row(*next(rest)) for i in range(count)]
            return as_json(rows)
        ((told, answer),) = zip(telling.told, answers, strict=True)
        if isinstance(answer, JobyardError):
            return refused(answer)
        return Json(body=msgspec.json.encode(self._extended(answer)) if told.do is Do.EXTEND else to_json(answer))

    def _row(self, told: Told, answer: Answer) -> dict[str, object]:
        if isinstance(answer, JobyardError):
            return _error_row(told.job_id, answer)
        return {"job_id": told.job_id, "ok": True, **(self._extended(answer) if told.do is Do.EXTEND else {})}

    def _extended(self, job: Job) -> dict[str, object]:
        left_s = 0.0 if job.locked_until is None else (job.locked_until - job.updated_at).total_seconds()
        return {"lease_s": seconds(left_s), "cancel_requested": job.cancel_requested_at is not None}


def _read(peer: Peer, message: SettleLeases) -> Telling:
    if message.do is not None:
        return Telling(peer, message, [read_told(Do(message.do), message.job_id, message.body)])
    items = read_settle(message.body)
    errors = {index: (item[0], item[1]) for index, item in enumerate(items) if isinstance(item, tuple)}
    return Telling(peer, message, [item for item in items if isinstance(item, Told)], dict(errors))


def _error_row(job_id: str, wrong: JobyardError) -> dict[str, object]:
    error = {"code": wrong.code, "message": wrong.message, "field": wrong.field, **wrong.details}
    return {"job_id": job_id, "ok": False, "error": error}
