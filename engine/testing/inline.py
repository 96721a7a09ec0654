"""The Jobyard of a test: takes what is submitted and runs it in the test's own process and thread, when it is told to.

Like the real one: the fields and bounds of a job, its states, attempts, retries and delays, JSON in and out. Unlike it: time-outs
are not enforced, a task that ends its process ends the test's, and the clock jumps to the next job instead of being waited for.
"""

from __future__ import annotations

import json
from datetime import timedelta

import httpx

from jobyard.engine.client.async_client import AsyncClient
from jobyard.engine.client.default import use_client
from jobyard.engine.client.steps import Operation, T
from jobyard.engine.client.sync_client import Client
from jobyard.engine.client.values import Job
from jobyard.engine.errors import NotFinished
from jobyard.engine.executor.outcomes import TaskOutcome, raised, success
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Outcome, Status
from jobyard.engine.jobs.job import Job as StoredJob
from jobyard.engine.tasks.builtin import register_builtin
from jobyard.engine.tasks.context import CurrentJob, Retry
from jobyard.engine.tasks.inline import call_as
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.testing.book import JobBook, MovableWorld
from jobyard.engine.testing.service import Service

OWNER = "test:inline:worker-7001:1"
RETRY_BASE_S = 10
LEASE_S = 30
MANY = 2_000
URL = "http://jobyard.test"


class InlineJobyard:
    """Until its `with` ends, `task.submit` comes here. `is_inline = True`: what is submitted and due runs at once."""

    def __init__(self) -> None:
        self.is_inline = False
        self._world = MovableWorld()
        self._book = JobBook(self._world)
        transport = httpx.MockTransport(Service(self._book).answer)
        self.client: Client = InlineClient(self, httpx.Client(transport=transport))
        self.async_client: AsyncClient = InlineAsyncClient(self, httpx.AsyncClient(transport=transport))
        self._before: Client | None = None
        register_builtin(enable_shell=False, http_allow_private=False)

    def __enter__(self) -> InlineJobyard:
        self._before = use_client(self.client)
        return self

    def __exit__(self, *wrong: object) -> None:
        use_client(self._before)

    def jobs(self, task: str | None = None) -> list[Job]:
        """All jobs (of this task) in the order of their submission."""
        return list(self.client.iter_jobs(task=task))[::-1]

    def drain(self, *, raising: bool = True) -> list[Job]:
        """Run all that waits, and what it submits, until nothing does: those that ended, in the order of their ends.

        What is due later is not waited for. `raising`: an exception of a task comes out here, as soon as its attempt is noted,
        but for a `Retry`; otherwise it is tried again as by a worker.
        """
        ended: list[Job] = []
        for _ in range(MANY):
            job = self._book.next_job()
            if job is None:
                return ended
            ended += self._finished(self._run(job, raising=raising))
        raise AssertionError(f"after {MANY} attempts there is still something to run; is there a task that submits itself?")

    def run_due(self, *, raising: bool = True) -> list[Job]:
        """The same for what is due by now only."""
        ended: list[Job] = []
        while (job := self._book.next_job()) is not None and job.scheduled_at <= self._world.now():
            ended += self._finished(self._run(job, raising=raising))
        return ended

    def run_next(self) -> bool:
        """Run one attempt, of whatever comes next; False when there is nothing."""
        job = self._book.next_job()
        if job is not None:
            self._run(job, raising=False)
        return job is not None

    def advance(self, seconds: float) -> None:
        """Let time pass for the jobs."""
        self._world.move_to(self._world.now() + timedelta(seconds=seconds))

    def _run(self, job: StoredJob, *, raising: bool) -> StoredJob:
        """One attempt, from claim to settle; the job after it."""
        self._world.move_to(job.scheduled_at)
        now = self._world.now()
        job = self._book.apply(lifecycle.claim(job, owner=OWNER, now=now))
        job = self._book.apply(lifecycle.enqueue(job, now=now))
        job = self._book.apply(lifecycle.begin(job, owner=OWNER, now=now, lease_s=LEASE_S))
        outcome, wrong = self._call(job)
        job = self._book.find(job.job_id)  # it may have been cancelled while it ran
        job = self._book.apply(lifecycle.settle(job, outcome, now=self._world.now(), retry_base_s=RETRY_BASE_S))
        if raising and wrong is not None and not (isinstance(wrong, Retry) and job.status is Status.PENDING):
            raise wrong
        return job

    def _call(self, job: StoredJob) -> tuple[Outcome, Exception | None]:
        task = DEFINED.get(job.task)
        assert task is not None, "it was accepted"
        current = CurrentJob(
            job_id=job.job_id, attempt=job.attempt, epoch=job.epoch, retry_count=job.retry_count,
            deadline=self._world.now() + timedelta(seconds=job.timeout_s), report=lambda *told: None,
        )  # fmt: skip
        try:
            outcome = stored_outcome(success(call_as(current, task.function, json.loads(job.payload))))
        except Exception as wrong:  # whatever a task raises is its failure
            return stored_outcome(raised(wrong, ours=__file__)), wrong
        return outcome, None if outcome.error is None else TypeError(f"task {job.task!r}: {outcome.error}")

    def _finished(self, job: StoredJob) -> list[Job]:
        return [self.client.get(job.job_id)] if lifecycle.is_terminal(job) else []


class InlineClient(Client):
    """Runs what is due after each request of an inline Jobyard; a pause is a time in which jobs run."""

    def __init__(self, jobyard: InlineJobyard, http: httpx.Client) -> None:
        super().__init__(URL, http=http)
        self._jobyard = jobyard

    def _run(self, operation: Operation[T]) -> T:
        value = super()._run(operation)
        _run_inline(self._jobyard)
        return value

    def _pause(self, seconds: float) -> None:
        _go_on(self._jobyard)


class InlineAsyncClient(AsyncClient):
    """The same for asynchronous code."""

    def __init__(self, jobyard: InlineJobyard, http: httpx.AsyncClient) -> None:
        super().__init__(URL, http=http)
        self._jobyard = jobyard

    async def _run(self, operation: Operation[T]) -> T:
        value = await super()._run(operation)
        _run_inline(self._jobyard)
        return value

    async def _pause(self, seconds: float) -> None:
        _go_on(self._jobyard)


def _run_inline(jobyard: InlineJobyard) -> None:
    if jobyard.is_inline:
        jobyard.run_due()


def _go_on(jobyard: InlineJobyard) -> None:
    if not jobyard.run_next():
        raise NotFinished("the job that is waited for runs already, and nothing else is left to run")


def stored_outcome(told: TaskOutcome) -> Outcome:
    """What a task's process tells, as it is stored."""
    return Outcome(
        status=ExecutionStatus(told.status), result=told.result, error=told.error, traceback=told.traceback,
        retry_delay_s=told.retry_delay_s, unrecoverable=told.unrecoverable,
    )  # fmt: skip
