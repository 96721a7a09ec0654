"""An inline Jobyard for tests: accepts submissions and runs the jobs in the test's own process and thread, on request.

Like the real one: the fields and bounds of a job, its states, attempts, retries and delays, JSON in and out. Unlike it: timeouts
are not enforced, a task that ends its process ends the test's, and the clock jumps to the next job instead of waiting for it.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import httpx

from jobyard.engine.client.async_client import AsyncClient
from jobyard.engine.client.default import use_client
from jobyard.engine.client.interception import intercept, stop_intercepting
from jobyard.engine.client.steps import Operation, Pause, Response, T
from jobyard.engine.client.sync_client import Client
from jobyard.engine.client.values import Job
from jobyard.engine.client.wire import response_of
from jobyard.engine.errors import NotFinished
from jobyard.engine.executor.outcomes import TaskOutcome, failure, raised, success
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Outcome, Status
from jobyard.engine.jobs.job import Job as StoredJob
from jobyard.engine.tasks.builtin import register_builtin
from jobyard.engine.tasks.context import CurrentJob, Retry
from jobyard.engine.tasks.inline import call_as
from jobyard.engine.tasks.parameters import WrongArguments
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.testing.in_memory_jobs import AdjustableWorld, InMemoryJobs
from jobyard.engine.testing.service import Service

OWNER = "test:inline:worker-7001:1"
RETRY_BASE_S = 10
LEASE_S = 30
MAX_ATTEMPTS = 2_000
MAX_FIRES = 100_000
URL = "http://jobyard.test"


class InlineJobyard:
    """Receives what any client of this process asks within its `with`, however the client was made.

    `is_inline = True`: a submitted job that is due runs at once.
    """

    def __init__(self) -> None:
        self.is_inline = False
        self._world = AdjustableWorld()
        self._jobs = InMemoryJobs(self._world)
        self._service = Service(self._jobs)
        over = httpx.MockTransport(_refuse)
        self.client = Client(URL, http=httpx.Client(transport=over))
        self.async_client = AsyncClient(URL, http=httpx.AsyncClient(transport=over))
        self._before: Client | None = None
        register_builtin(enable_shell=False, http_allow_private=False)

    def __enter__(self) -> InlineJobyard:
        self._before = use_client(self.client)
        intercept(self)
        return self

    def __exit__(self, *error: object) -> None:
        stop_intercepting(self)
        use_client(self._before)

    def run(self, operation: Operation[T]) -> T:
        """Carry out what any client of this process asks; instead of a pause the next job runs."""
        self._jobs.cancel_expired()
        answer: Response | None = None
        while True:
            try:
                step = operation.send(answer)
            except StopIteration as end:
                value: T = end.value
                break
            if isinstance(step, Pause):
                self._run_instead_of_pausing()
                answer = None
            else:
                answer = response_of(self._service.answer(httpx.Request(step.method, URL + step.path, content=step.body)))
        if self.is_inline:
            self.run_due()
        return value

    def jobs(self, task: str | None = None) -> list[Job]:
        """All jobs (of this task) in the order of their submission."""
        return list(self.client.iter_jobs(task=task))[::-1]

    def drain(self, *, raising: bool = True) -> list[Job]:
        """Run all waiting jobs, and those that they submit, until none is left; the finished jobs, in the order of their ends.

        Jobs that are due later run without waiting. `raising`: an exception of a task, unless it is a `Retry`, is raised here as
        soon as its attempt is recorded; otherwise the job is retried as by a worker.
        """
        ended: list[Job] = []
        for _ in range(MAX_ATTEMPTS):
            found = self._jobs.next_job()
            if found is None:
                return ended
            ended += self._finished(self._run(*found, raising=raising))
        raise AssertionError(f"after {MAX_ATTEMPTS} attempts there is still something to run; is there a task that submits itself?")

    def run_due(self, *, raising: bool = True) -> list[Job]:
        """Like `drain`, for jobs that are due by now only."""
        ended: list[Job] = []
        while (found := self._jobs.next_job()) is not None and found[1] <= self._world.now():
            ended += self._finished(self._run(*found, raising=raising))
        return ended

    def run_next(self) -> bool:
        """Run one attempt of the next job; False when there is none."""
        found = self._jobs.next_job()
        if found is not None:
            self._run(*found, raising=False)
        return found is not None

    def advance(self, seconds: float) -> None:
        """Move the jobs' clock forward. Schedules fire on the way, each job is made at its fire time; `run_due` runs them."""
        until = self._world.now() + timedelta(seconds=seconds)
        for _ in range(MAX_FIRES):
            if not self._jobs.fire(until):
                break
        self._world.advance_to(until)

    def _run(self, job: StoredJob, at: datetime, *, raising: bool) -> StoredJob:
        """Run one attempt, from claim to settle, not before this time; the job after it."""
        self._world.advance_to(at)
        now = self._world.now()
        self._jobs.cancel_expired()
        job = self._jobs.find(job.job_id)
        if lifecycle.is_terminal(job):
            return job
        job = self._jobs.apply(lifecycle.claim(job, owner=OWNER, now=now))
        job = self._jobs.apply(lifecycle.enqueue(job, now=now))
        job = self._jobs.apply(lifecycle.begin(job, owner=OWNER, now=now, lease_s=LEASE_S))
        outcome, error = self._call(job)
        job = self._jobs.find(job.job_id)  # it may have been cancelled while it ran
        job = self._jobs.apply(self._settle(job, outcome))
        if raising and error is not None and not (isinstance(error, Retry) and job.status is Status.PENDING):
            raise error
        return job

    def _settle(self, job: StoredJob, outcome: Outcome) -> lifecycle.Change:
        options = DEFINED.options()[job.task]
        base_s = RETRY_BASE_S if options.retry_base_s is None else options.retry_base_s
        return lifecycle.settle(job, outcome, now=self._world.now(), retry_base_s=base_s, retry_max_s=options.retry_max_s)

    def _call(self, job: StoredJob) -> tuple[Outcome, Exception | None]:
        task = DEFINED.get(job.task)
        assert task is not None, "it was accepted"
        current = CurrentJob(
            job_id=job.job_id, attempt=job.attempt, epoch=job.epoch, retry_count=job.retry_count,
            deadline=self._world.now() + timedelta(seconds=job.timeout_s), report=lambda *args: None,
            fire_at=job.fire_at, hold_limits=None if job.limit is None else self._hold_limits,
            waited_for=lambda: self._jobs.predecessors(job),
        )  # fmt: skip
        try:
            call = task.bind(json.loads(job.payload))
        except WrongArguments as error:
            return stored_outcome(failure(f"WrongArguments: {error}", unrecoverable=True)), error
        try:
            outcome = stored_outcome(success(call_as(current, call)))
        except Exception as error:  # any exception of a task is a failed attempt
            return stored_outcome(raised(error, ours=__file__, is_final=task.retry_rules.is_final)), error
        return outcome, None if outcome.error is None else TypeError(f"task {job.task!r}: {outcome.error}")

    def _hold_limits(self, job: CurrentJob, for_s: float) -> None:
        self._jobs.limits.hold_parts(self._jobs.find(job.job_id).limit or (), self._world.now() + timedelta(seconds=for_s))

    def _run_instead_of_pausing(self) -> None:
        if not self.run_next():
            raise NotFinished("the job that is waited for is already running, and no other job is left to run")

    def _finished(self, job: StoredJob) -> list[Job]:
        return [self.client.get(job.job_id)] if lifecycle.is_terminal(job) else []


def _refuse(request: httpx.Request) -> httpx.Response:
    raise RuntimeError("the test that this client belongs to is over; nothing was submitted")


def stored_outcome(told: TaskOutcome) -> Outcome:
    """What a task's process tells, as it is stored."""
    return Outcome(
        status=ExecutionStatus(told.status), result=told.result, error=told.error, traceback=told.traceback,
        retry_delay_s=told.retry_delay_s, unrecoverable=told.unrecoverable,
    )  # fmt: skip
