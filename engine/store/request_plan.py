"""Decides what becomes of one request by the idempotency keys and unique keys of its jobs, before anything of it is written.

For stores that can look everything up while nobody else writes; MongoDB decides by the same `UniquePlan` in rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.unique import Verdict
from jobyard.engine.store.port import Inserted, KeyTaken, NotUnique
from jobyard.engine.store.unique_plan import Refusal, UniquePlan
from jobyard.engine.store.waiting_plan import NOTHING, accept_new
from jobyard.engine.workflows.acceptance import NotAccepted
from jobyard.engine.workflows.port import Facts


class Known(NamedTuple):
    """The job that an idempotency key leads to. `verdict`: how the request was answered, where a unique key decided that."""

    job_id: str
    digest: bytes | None
    verdict: Verdict | None = None


class Remembered(NamedTuple):
    """An idempotency key whose request was answered with another job, by its unique key; remembered as long as that is stored."""

    key: str
    known: Known


class Lookups(Protocol):
    """What is stored."""

    def known(self, key: str) -> Known | None:
        """The job that an idempotency key leads to."""

    def holder(self, key: str) -> Job | None:
        """The job that has this unique key in `held_key`."""

    def is_stored(self, job_id: str) -> bool:
        """Whether there is such a job."""


def status_of(new: Sequence[Job]) -> Status:
    """That of the last of a request's new jobs."""
    return new[-1].status if new else Status.PENDING


class RequestPlan:
    """What must be written for a request, and its answer."""

    def __init__(self) -> None:
        self.unique = UniquePlan()
        self.remembered: list[Remembered] = []
        self.waiting = NOTHING
        self._job_ids: list[str] = []
        self._repeated = 0
        self._verdicts: dict[int, Verdict] = {}
        self._own: dict[str, Known] = {}

    def accept(self, jobs: Sequence[Job], facts: Facts) -> NotAccepted | None:
        """Decide about the new ones of these jobs, all of the request, that wait for others; None unless it is refused."""
        waiting = accept_new(self.unique, jobs, self._job_ids, facts, to_resolve=False)
        if isinstance(waiting, NotAccepted):
            return waiting
        self.waiting = waiting
        return None

    @property
    def writes(self) -> bool:
        """Whether a job would be stored or changed."""
        return bool(self.unique.fresh or self.unique.replacing)

    def answer(self) -> Inserted:
        """The answer once all is written."""
        return Inserted(
            job_ids=self._job_ids, repeated=self._repeated, existing=tuple(self._verdicts),
            replaced=tuple(index for index, verdict in self._verdicts.items() if verdict is Verdict.REPLACE),
            replaced_due_at=min((one.due_at for one in self.unique.replacing.values()), default=None),
            status=self.waiting.status,
        )  # fmt: skip

    def add(self, index: int, job: Job, stored: Lookups) -> KeyTaken | NotUnique | None:
        """Plan the next job; None unless it refuses the whole request."""
        known = self._known(job.idempotency_key, stored)
        if known is None:
            return self._add_new(index, job, stored)
        if not is_same_request(known.digest, job.request_digest):
            return KeyTaken(index=index, job_id=known.job_id)
        self._job_ids.append(known.job_id)
        if known.verdict is not None:
            self._verdicts[index] = known.verdict
        else:
            self._repeated += known.job_id != job.job_id
        return None

    def _add_new(self, index: int, job: Job, stored: Lookups) -> NotUnique | None:
        holder = None if job.held_key is None else stored.holder(job.held_key)
        if holder is not None and stored.is_stored(job.job_id):  # where nobody has the key, storing the same job again is no change
            self._job_ids.append(job.job_id)  # the same request sent again
            return None
        decided = self.unique.add(job, holder)
        if isinstance(decided, Refusal):
            return NotUnique(index=index, key=decided.key, job_id=decided.job_id)
        job_id, verdict = decided
        self._job_ids.append(job_id)
        known = Known(job_id, job.request_digest, None if verdict is Verdict.TAKE else verdict)
        if known.verdict is not None:
            self._verdicts[index] = known.verdict
        if job.idempotency_key is not None:
            self._own[job.idempotency_key] = known
            if known.verdict is not None:
                self.remembered.append(Remembered(job.idempotency_key, known))
        return None

    def _known(self, key: str | None, stored: Lookups) -> Known | None:
        if key is None:
            return None
        return self._own.get(key) or stored.known(key)


def plan_request(jobs: Sequence[Job], stored: Lookups, facts: Facts) -> RequestPlan | KeyTaken | NotUnique | NotAccepted:
    """The plan, or the refusal of the whole request."""
    plan = RequestPlan()
    for index, job in enumerate(jobs):
        refused = plan.add(index, job, stored)
        if refused is not None:
            return refused
    return plan.accept(jobs, facts) or plan
