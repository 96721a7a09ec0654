"""A random life of many jobs against the real lifecycle, places, arrivals, recovery and store; the invariants are checked after
every step.

The machine plays client, watchers, queue, workers and the reaper; whatever it does, legal or late, the store must refuse what is
not its turn. In the end everything is let go and every job must reach an end.
"""

from __future__ import annotations

import shutil
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
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.logs import Log
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.watcher.places import Places
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from jobyard.engine.worker.arrivals import Arrivals
from jobyard.engine.world import later_id
from tests.support.builders import a_job, a_log
from tests.support.world import FakeWorld

BASE_S = 10.0
MAX_LOST = 3
LEASE_S = 30.0
WORKERS = ("worker-7001", "worker-7002")
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
        self.on_their_way: list[Job] = []
        """Begun in a worker's name; the worker does not have them yet."""
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

    @rule(
        watcher=st.sampled_from(["watcher-9001", "watcher-9002"]),
        slots=st.dictionaries(st.sampled_from(WORKERS), st.integers(0, 3)),
        short=st.booleans(),
    )  # fmt: skip
    def claim(self, watcher: str, slots: dict[str, int], short: bool) -> None:
        """For the workers' free slots; a short job takes half of one."""
        places = Places(last_chance=MAX_LOST - 1, runs_lost_job=lambda worker, n: self.store.runs_lost_job(worker, at_least=n))
        units = {self.owner(name): count * SLOT_UNITS for name, count in slots.items()}
        places.grant([Offer(owner=owner, free=free) for owner, free in units.items()], {"echo": SLOT_UNITS // 2} if short else {})
        before = {job.job_id: job for job in self.jobs()}

        allocation = places.allocation()
        begun = self.store.claim_due(owner=self.owner(watcher), now=self.world.now(), lease_s=LEASE_S, allocation=allocation).jobs

        assert [job.priority for job in begun] == sorted((job.priority for job in begun), reverse=True)
        for job in begun:
            self.check_begin(before[job.job_id], job, self.owner(watcher))
        assert all(units[worker] >= places.use(worker, jobs) for worker, jobs in by_worker(begun).items())
        self.check_last_chances()
        self.on_their_way += begun
        if not begun and any(units.values()) and not allocation.has_skipped:
            assert not self.store.due(now=self.world.now(), limit=1)

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data(), count=st.integers(1, 3), is_again=st.booleans())
    def arrive(self, data: st.DataObject, count: int, is_again: bool) -> None:
        """Some of what is on its way, in any order; what is pushed again is asked about first."""
        for _ in range(min(count, len(self.on_their_way))):
            job = data.draw(st.sampled_from(self.on_their_way))
            self.on_their_way.remove(job)
            self.receive(job, is_again=is_again)

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data())
    def never_arrive(self, data: st.DataObject) -> None:
        """Its push is lost; its worker finds it in the store."""
        self.on_their_way.remove(data.draw(st.sampled_from(self.on_their_way)))
        for name in WORKERS:
            self.look_for_ghosts(self.owner(name))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), how=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, data: st.DataObject, how: str) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.settle(run, OUTCOMES[how])

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def find_no_slot(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        self.give_back(run.job)

    @precondition(lambda self: self.late)
    @rule(data=st.data(), how=st.sampled_from(sorted(OUTCOMES)))
    def hear_from_the_dead(self, data: st.DataObject, how: str) -> None:
        run = data.draw(st.sampled_from(self.late))
        before = self.store.find([run.job.job_id])
        change = lifecycle.settle(run.job, OUTCOMES[how], now=self.world.now(), retry_base_s=BASE_S)

        assert self.store.apply([change, lifecycle.return_unstarted(run.job, now=self.world.now())]) == [False, False]

        assert self.store.find([run.job.job_id]) == before

    @rule(seconds=st.sampled_from([1, 15, 40, 200]))
    def wait(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(name=st.sampled_from(["worker-7001", "worker-7002", "watcher-9001", "watcher-9002"]))
    def kill(self, name: str) -> None:
        owner = self.owner(name)
        self.dead.owners.add(owner)
        self.generation[name] += 1
        self.late += [run for run in self.runs if run.worker == owner]
        self.late += [Run(owner, job) for job in self.on_their_way if job.locked_by == owner]
        self.runs = [run for run in self.runs if run.worker != owner]
        self.on_their_way = [job for job in self.on_their_way if owner not in (job.locked_by, job.claimed_by)]
        self.recovery.recover()
        assert owner not in self.store.holders()
        for name in WORKERS:
            self.look_for_ghosts(self.owner(name), claimed_by=owner)

    @precondition(lambda self: self.job_ids)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.any_job(data)
        if not lifecycle.is_terminal(job):
            assert self.store.apply([lifecycle.cancel(job, now=self.world.now())]) == [True]

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
        running = {(job.job_id, job.attempt) for job in [*self.on_their_way, *(run.job for run in self.runs)]}
        for job in self.jobs():
            executions = self.store.executions(job.job_id)
            assert [execution.attempt for execution in executions] == list(range(1, job.attempt + 1))
            open_ones = [execution.attempt for execution in executions if execution.status is ExecutionStatus.RUNNING]
            assert open_ones == ([job.attempt] if job.status is Status.RUNNING else [])
            if job.status is Status.RUNNING:
                assert (job.job_id, job.attempt) in running

    # ---- how it is done

    def owner(self, name: str) -> str:
        return f"box:b00t:{name}:{self.generation[name]}"

    def jobs(self) -> list[Job]:
        return [job for job in self.store.find(self.job_ids) if job is not None]

    def any_job(self, data: st.DataObject) -> Job:
        job = self.store.find([data.draw(st.sampled_from(self.job_ids))])[0]
        assert job is not None
        return job

    def check_begin(self, before: Job, job: Job, watcher: str) -> None:
        """T2 to T4 of one job."""
        now = self.world.now()
        assert job.scheduled_at <= now and before.status is Status.PENDING
        assert (job.epoch, job.attempt, job.claimed_by) == (before.epoch + 2, before.attempt + 1, watcher)
        assert job.claimed_at == job.queued_at == job.last_run_at == now
        assert (job.job_id, job.epoch) not in self.begun
        self.begun.add((job.job_id, job.epoch))

    def check_last_chances(self) -> None:
        """Of the jobs that one more loss would fail, a worker has no two, unless it got one of them before that was known."""
        risky = [job for job in self.jobs() if job.status is Status.RUNNING and job.lost_count >= MAX_LOST - 1]
        assert len({job.locked_by for job in risky}) == len(risky)

    def arrivals(self, worker: str) -> Arrivals:
        return Arrivals(owner=worker, store=self.store, log=a_log())

    def receive(self, job: Job, *, is_again: bool) -> None:
        worker = job.locked_by or ""
        arrivals = self.arrivals(worker)
        accepted = arrivals.accept([job], known=self.known(worker), is_again=is_again) or arrivals.resolve(known=set())
        self.runs += [Run(worker, one) for one in accepted]
        assert len(accepted) == 1

    def known(self, worker: str) -> set[tuple[str, int]]:
        return {(run.job.job_id, run.job.epoch) for run in self.runs if run.worker == worker}

    def look_for_ghosts(self, worker: str, claimed_by: str | None = None) -> None:
        """What is on its way from those that live arrives before the worker looks."""
        under_way = {(job.job_id, job.epoch) for job in self.on_their_way}
        for ghost in self.arrivals(worker).ghosts(known=self.known(worker) | under_way, claimed_by=claimed_by):
            self.give_back(ghost)

    def give_back(self, job: Job) -> None:
        """The attempt never started."""
        change = lifecycle.return_unstarted(job, now=self.world.now())
        if self.store.apply([change]) == [False]:
            now = self.store.find([job.job_id])[0]
            assert now is not None and now.cancel_requested_at is not None and now.epoch == job.epoch
            assert self.store.apply([lifecycle.return_unstarted(now, now=self.world.now())]) == [True]
        returned = self.store.find([job.job_id])[0]
        assert returned is not None and returned.attempt == job.attempt - 1
        assert (returned.retry_count, returned.lost_count) == (job.retry_count, job.lost_count)

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

    def let_everything_end(self) -> None:
        """With nobody dying any more, every job must reach an end in a bounded number of turns."""
        for _ in range(200):
            if all(lifecycle.is_terminal(job) for job in self.jobs()):
                return
            self.world.advance(200)
            self.claim("watcher-9001", {"worker-7001": 3}, short=False)
            for job in self.on_their_way:
                self.receive(job, is_again=False)
            for run in self.runs:
                self.settle(run, OUTCOMES["success"])
            self.on_their_way, self.runs = [], []
        raise AssertionError(f"these never ended: {[shown(job) for job in self.jobs() if not lifecycle.is_terminal(job)]}")


def by_worker(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    sorted_out: dict[str, list[Job]] = {}
    for job in jobs:
        sorted_out.setdefault(job.locked_by or "", []).append(job)
    return sorted_out


def shown(job: Job) -> str:
    return f"{job.job_id} {job.status} due {job.scheduled_at} epoch {job.epoch} held by {job.holder}"


def test_whatever_happens_the_invariants_hold() -> None:
    run_state_machine_as_test(
        LifeOfJobs,
        settings=settings(
            max_examples=150, stateful_step_count=40, derandomize=True, suppress_health_check=list(HealthCheck)
        ),
    )  # fmt: skip
