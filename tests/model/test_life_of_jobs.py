"""A random life of many jobs against the real lifecycle, backlog, recovery and store; the invariants are checked after every step.

The machine plays client, watchers, queue, workers and the reaper; whatever it does, legal or late, the store must refuse what is
not its turn. In the end everything is let go and every job must reach an end.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from jobyard.engine.config import read_settings
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status, Ticket
from jobyard.engine.logs import Log
from jobyard.engine.queue.backlog import Backlog
from jobyard.engine.store.hand_back import hand_back
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.world import later_id
from tests.support.builders import a_job
from tests.support.world import FakeWorld

BASE_S = 10.0
MAX_LOST = 3
LEASE_S = 30.0
OUTCOMES = {
    "success": Outcome(status=ExecutionStatus.SUCCESS, result=b"1"),
    "failure": Outcome(status=ExecutionStatus.FAILED, error="no"),
    "timeout": Outcome(status=ExecutionStatus.TIMEOUT, error="late"),
    "crash": Outcome(status=ExecutionStatus.CRASHED, error="SIGSEGV"),
    "retry": Outcome(status=ExecutionStatus.FAILED, error="busy", retry_delay_s=3.0),
    "useless": Outcome(status=ExecutionStatus.FAILED, error="never", unrecoverable=True),
    "released": Outcome(status=ExecutionStatus.RELEASED),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker believes that it runs."""

    worker: str
    job: Job
    ticket: Ticket


class Dead:
    """Who is proven dead."""

    def __init__(self) -> None:
        self.owners: set[str] = set()

    def proven(self, owners: Iterable[str]) -> list[str]:
        return [owner for owner in owners if owner in self.owners]


class LifeOfJobs(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobyard-model-"))
        prepare_file(self.folder / "jobs.sqlite")
        self.store = SqliteStore(self.folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)
        self.world = FakeWorld()
        self.dead = Dead()
        self.recovery = Recovery(
            settings=read_settings({"MAX_LOST": str(MAX_LOST)}), world=self.world, store=self.store,
            log=Log(self.world, level="error"), deaths=self.dead,
        )  # fmt: skip
        self.backlog = Backlog(capacity=20)
        self.generation = {"worker-7001": 1, "worker-7002": 1, "watcher-9001": 1, "watcher-9002": 1}
        self.runs: list[Run] = []
        self.late: list[Run] = []
        self.job_ids: list[str] = []
        self.ended: dict[str, tuple[Status, int]] = {}
        self.begun: set[tuple[str, int]] = set()
        self.first_id = self.world.object_id()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.let_everything_end()
            self.store.close()
            shutil.rmtree(self.folder)

    # ---- what happens

    @rule(priority=st.integers(0, 9), delay_s=st.sampled_from([0, 0, 5, 100]), max_retries=st.integers(0, 2))
    def submit(self, priority: int, delay_s: int, max_retries: int) -> None:
        now = self.world.now()
        job = a_job(
            job_id=later_id(self.first_id, len(self.job_ids)), priority=priority, max_retries=max_retries, created_at=now,
            scheduled_at=now + timedelta(seconds=delay_s),
        )  # fmt: skip
        self.store.insert([[job]])
        self.job_ids.append(job.job_id)

    @rule(watcher=st.sampled_from(["watcher-9001", "watcher-9002"]), is_pushed=st.booleans())
    def claim(self, watcher: str, is_pushed: bool) -> None:
        limits = [min(3, self.backlog.room(priority)) for priority in range(10)]
        tickets = self.store.claim_due(owner=self.owner(watcher), now=self.world.now(), limits=limits).tickets
        assert all(ticket.scheduled_at <= self.world.now() for ticket in tickets)
        assert [ticket.priority for ticket in tickets] == sorted((ticket.priority for ticket in tickets), reverse=True)
        if is_pushed:
            for ticket in tickets:
                assert self.backlog.push(ticket)
        else:
            hand_back(self.store, tickets, now=self.world.now(), max_lost=MAX_LOST)

    @rule(worker=st.sampled_from(["worker-7001", "worker-7002"]), count=st.integers(1, 3), is_begun=st.booleans())
    def take(self, worker: str, count: int, is_begun: bool) -> None:
        taken = self.backlog.pop(count, holder=self.owner(worker), worker=worker, expires_at=self.world.monotonic() + LEASE_S)
        for ticket in taken if is_begun else []:
            self.start(self.owner(worker), ticket)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), how=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, data: st.DataObject, how: str) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.settle(run, OUTCOMES[how])
        self.backlog.ack([(run.ticket.job_id, run.ticket.epoch)], holder=run.worker)

    @precondition(lambda self: self.late)
    @rule(data=st.data(), how=st.sampled_from(sorted(OUTCOMES)))
    def hear_from_the_dead(self, data: st.DataObject, how: str) -> None:
        run = data.draw(st.sampled_from(self.late))
        before = self.store.find([run.job.job_id])
        change = lifecycle.settle(run.job, OUTCOMES[how], now=self.world.now(), retry_base_s=BASE_S)

        assert self.store.apply([change]) == [False]

        assert self.store.find([run.job.job_id]) == before

    @rule(seconds=st.sampled_from([1, 15, 40, 200]))
    def wait(self, seconds: int) -> None:
        self.world.advance(seconds)
        self.backlog.expire(self.world.monotonic())

    @rule()
    def restart_the_queue(self) -> None:
        self.backlog = Backlog(capacity=20)
        for owner in self.store.holders():
            for ticket in self.store.queued_by(owner, limit=1000):
                self.backlog.push(ticket)

    @rule(name=st.sampled_from(["worker-7001", "worker-7002", "watcher-9001", "watcher-9002"]))
    def kill(self, name: str) -> None:
        owner = self.owner(name)
        self.dead.owners.add(owner)
        self.generation[name] += 1
        self.backlog.release_all(owner)
        self.late += [run for run in self.runs if run.worker == owner]
        self.runs = [run for run in self.runs if run.worker != owner]
        self.recovery.recover()
        assert owner not in self.store.holders()
        self.reload()

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.any_job(data)
        if not lifecycle.is_terminal(job):
            assert self.store.apply([lifecycle.cancel(job, now=self.world.now())]) == [True]
            self.backlog.discard(job.job_id, before_epoch=job.epoch + 1)

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = self.any_job(data)
        if lifecycle.may(job, lifecycle.Verb.RETRY):
            assert self.store.apply([lifecycle.retry(job, now=self.world.now())]) == [True]
            self.ended.pop(job.job_id, None)

    # ---- what must hold

    @invariant()
    def nothing_is_lost_and_counters_add_up(self) -> None:
        if not hasattr(self, "store"):
            return
        jobs = self.jobs()
        assert len(jobs) == len(self.job_ids)
        counted = Counter(job.status for job in jobs)
        assert self.store.counts() == {status: counted[status] for status in Status}

    @invariant()
    def an_end_is_an_end(self) -> None:
        for job in self.jobs() if hasattr(self, "store") else []:
            if lifecycle.is_terminal(job):
                assert self.ended.setdefault(job.job_id, (job.status, job.epoch)) == (job.status, job.epoch)
            assert job.retry_count <= job.max_retries and job.lost_count <= MAX_LOST
            assert (job.status is Status.RUNNING) == (job.locked_by is not None)

    @invariant()
    def every_attempt_has_its_record_and_one_holder(self) -> None:
        if not hasattr(self, "store"):
            return
        running = {(run.job.job_id, run.job.attempt) for run in self.runs}
        for job in self.jobs():
            executions = self.store.executions(job.job_id)
            assert [execution.attempt for execution in executions] == list(range(1, job.attempt + 1))
            open_ones = [execution.attempt for execution in executions if execution.status is ExecutionStatus.RUNNING]
            assert open_ones == ([job.attempt] if job.status is Status.RUNNING else [])
            if job.status is Status.RUNNING:
                assert (job.job_id, job.attempt) in running

    # ---- how it is done

    def owner(self, name: str) -> str:
        """The backlog knows holders by identity, as it knows connections."""
        return sys.intern(f"box:b00t:{name}:{self.generation[name]}")

    def jobs(self) -> list[Job]:
        return [job for job in self.store.find(self.job_ids) if job is not None]

    def any_job(self, data: st.DataObject) -> Job:
        job = self.store.find([data.draw(st.sampled_from(self.job_ids))])[0]
        assert job is not None
        return job

    def start(self, owner: str, ticket: Ticket) -> None:
        job = self.store.find([ticket.job_id])[0]
        assert job is not None
        if job.epoch != ticket.epoch or not lifecycle.may(job, lifecycle.Verb.BEGIN):
            self.backlog.ack([(ticket.job_id, ticket.epoch)], holder=owner)
            return
        change = lifecycle.begin(job, owner=owner, now=self.world.now(), lease_s=LEASE_S)
        assert self.store.apply([change, change]) == [True, False]
        begun = change.after(job)
        assert (begun.job_id, begun.attempt) not in self.begun
        assert job.scheduled_at <= self.world.now()
        self.begun.add((begun.job_id, begun.attempt))
        self.runs.append(Run(owner, begun, ticket))

    def settle(self, run: Run, outcome: Outcome) -> None:
        now = self.world.now()
        change = lifecycle.settle(run.job, outcome, now=now, retry_base_s=BASE_S)
        if self.store.apply([change]) == [False]:
            job = self.store.find([run.job.job_id])[0]
            assert job is not None and job.cancel_requested_at is not None and job.epoch == run.job.epoch
            change = lifecycle.settle(job, outcome, now=now, retry_base_s=BASE_S)
            assert self.store.apply([change]) == [True]
        if change.verb is lifecycle.Verb.POSTPONE:
            self.check_retry_time(change, run.job, outcome, now)

    def check_retry_time(self, change: lifecycle.Change, job: Job, outcome: Outcome, now: datetime) -> None:
        count = change.fields["retry_count"]
        assert count == job.retry_count + 1
        wait_s = outcome.retry_delay_s if outcome.retry_delay_s is not None else (job.retry_count + 1) ** 2 * BASE_S
        assert change.fields["scheduled_at"] == now + timedelta(seconds=wait_s)

    def reload(self) -> None:
        for owner in self.store.holders():
            for ticket in self.store.queued_by(owner, limit=1000):
                self.backlog.push(ticket)

    def let_everything_end(self) -> None:
        """With nobody dying any more, every job must reach an end in a bounded number of turns."""
        for _ in range(200):
            if all(lifecycle.is_terminal(job) for job in self.jobs()):
                return
            self.wait(200)
            self.reload()
            self.claim("watcher-9001", is_pushed=True)
            self.take("worker-7001", 3, is_begun=True)
            for run in self.runs:
                self.settle(run, OUTCOMES["success"])
                self.backlog.ack([(run.ticket.job_id, run.ticket.epoch)], holder=run.worker)
            self.runs = []
        raise AssertionError(f"these never ended: {[shown(job) for job in self.jobs() if not lifecycle.is_terminal(job)]}")


def shown(job: Job) -> str:
    return f"{job.job_id} {job.status} due {job.scheduled_at} epoch {job.epoch} held by {job.holder}"


def test_whatever_happens_the_invariants_hold() -> None:
    run_state_machine_as_test(
        LifeOfJobs,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )  # fmt: skip
