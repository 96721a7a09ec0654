"""One run: a system with some tens of jobs and many faults, then a phase without faults in which every job must finish."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from jobyard.engine.config import read_settings
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.run_dir import RunDir
from tests.simulation.aftermath import Aftermath
from tests.simulation.checker import Checker
from tests.simulation.children import ALL_TASKS, TASKS, ExecutorFleet
from tests.simulation.clients import Clients
from tests.simulation.event_queue import EventQueue, Violation
from tests.simulation.faults import FaultInjector
from tests.simulation.host import Cluster, Host
from tests.simulation.limiter import Limiter
from tests.simulation.network import NetworkConditions
from tests.simulation.store import SharedStore
from tests.simulation.timetable import Timetable

SETTINGS = {
    "POLL_S": "2", "LEASE_S": "15", "RETRY_BASE_S": "2", "MAX_LOST": "3", "HANG_S": "6", "DRAIN_S": "5", "CONCURRENCY": "2",
    "WORKERS": "2", "WATCHERS": "2",
}  # fmt: skip
BIG_STEPS_S = [3600.0, -86_400.0, 86_400.0, -315_360_000.0, 315_360_000.0]
"""Where there are schedules; what they put off is cancelled in the end."""


class Run:
    """The simulation of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.event_queue = EventQueue(seed)
        chance = self.event_queue.chance
        hosts = chance.choice([1, 1, 1, 2])
        is_shared = hosts > 1 or chance.random() < 0.3
        drawn = {"MONGO_URI": "mongodb://nowhere" if is_shared else ""}
        drawn |= {"MAX_JOBS_PER_CHILD": chance.choice(["0", "0", "2"]), "RETENTION_S": chance.choice(["604800", "0", "20"])}
        drawn |= {"RETENTION_FAILED_S": chance.choice(["2592000", "0", "20"])}
        settings = read_settings(SETTINGS | drawn)
        self.checker = Checker(self.event_queue, settings)
        self.cluster = Cluster(
            event_queue=self.event_queue, checker=self.checker, settings=settings, store=SharedStore(self.checker),
            conditions=NetworkConditions(), executors=ExecutorFleet(self.event_queue, self.checker), folder=folder,
        )  # fmt: skip
        skews_s = [0.0, chance.choice([-30.0, -1.0, 1.0, 30.0])]
        self.hosts = [Host(self.cluster, number=number, wall_offset_s=skews_s[number]) for number in range(hosts)]
        self.checker.clocks_are_right = hosts == 1
        self.clients = Clients(self.event_queue, self.checker, self.hosts)
        self.faults_s = chance.choice([10.0, 30.0, 60.0])
        self.faults = FaultInjector(self.cluster, self.hosts, self.clients, lasts_s=self.faults_s)
        self.timetable = Timetable(self.event_queue, self.hosts, self.cluster.store) if chance.random() < 0.4 else None
        if self.timetable is not None:
            self.faults.clock_steps_s += BIG_STEPS_S
        self.limiter = Limiter(self.event_queue, self.cluster.store.limits) if chance.random() < 0.4 else None

    def execute(self) -> None:
        """Run from the first boot to the last check; raises `Violation`."""
        chance = self.event_queue.chance
        self.event_queue.note("seed", str(self.seed), f"{len(self.hosts)} hosts:", ", ".join(self.faults.kinds) or "no faults")
        for host in self.hosts:
            host.boot_up()
        self.faults.begin()
        if self.limiter is not None:
            self.limiter.begin()
        self._plan_jobs()
        if self.timetable is not None:
            self.timetable.begin()
        self.event_queue.pass_time(self.faults_s)
        self.faults.end()
        if self.limiter is not None:
            self.limiter.end()
        if self.timetable is not None:
            self.timetable.end()
        if len(self.hosts) > 1 and chance.random() < 0.4:
            self.hosts.pop().lose_permanently()
        aftermath = Aftermath(self.cluster, self.hosts, self.clients)
        aftermath.wait_until_settled()
        aftermath.check_idle()
        aftermath.check_new_jobs_start()
        for step in (aftermath.check_every_slot, aftermath.check_cancel, aftermath.check_death_in_backlog):
            if self.event_queue.happens(0.5):
                step()

    def _plan_jobs(self) -> None:
        chance = self.event_queue.chance
        for _ in range(chance.choice([3, 10, 25])):
            at = chance.uniform(0, self.faults_s) if chance.random() < 0.7 else self.faults_s / 2
            jobs = [self._a_job() for _ in range(chance.choice([1, 1, 1, 3, 8]))]
            if chance.random() < 0.15:
                jobs = [self._a_job() | {"task": "long", "timeout_s": 40, "delay_s": 0}]
            elif chance.random() < 0.15:
                jobs = [self._a_job() | {"task": "quick", "delay_s": 0}] * 12
            if chance.random() < 0.3:
                self._plan_workflow(at)
            key = f"k{chance.randrange(5)}" if len(jobs) == 1 and chance.random() < 0.2 else None
            if key is not None:
                jobs = [{"task": "quick", "priority": int(key[1]), "timeout_s": 3}]
            self.event_queue.at(at, lambda jobs=jobs, key=key: self.clients.submit(jobs, key=key))  # type: ignore[misc]

    def _plan_workflow(self, at: float) -> None:
        """Jobs that wait for earlier ones of their batch, for a group, or for jobs that were accepted before."""
        chance = self.event_queue.chance
        jobs = [self._a_job() | {"ref": f"r{number}"} for number in range(chance.choice([2, 4, 8]))]
        group = f"g{chance.randrange(6)}"
        for number, job in enumerate(jobs):
            refs = [f"r{other}" for other in range(number) if chance.random() < 0.4]
            if refs:
                job |= {"after": refs, "run_if": chance.choice(["completed", "completed", "ended", "failed"])}
            elif chance.random() < 0.5:
                job["group"] = group
        if any("group" in job for job in jobs):
            jobs.append(self._a_job() | {"after": [{"group": group}], "run_if": chance.choice(["completed", "ended", "failed"])})
        self.event_queue.at(at, lambda: self.clients.submit(jobs))
        self.event_queue.at(at + chance.uniform(0, 10), lambda: self._submit_after_accepted(group))

    def _submit_after_accepted(self, group: str) -> None:
        """One more member, or a job that waits for what may have ended, been retried, or be gone."""
        known = list(self.checker.accepted)
        chance = self.event_queue.chance
        if known and chance.random() < 0.7:
            self.clients.submit(
                [self._a_job() | {"after": [chance.choice(known)], "run_if": chance.choice(["completed", "ended"])}]
            )
        else:
            self.clients.submit([self._a_job() | {"group": group}])

    def _a_job(self) -> dict[str, object]:
        chance = self.event_queue.chance
        return {
            "task": chance.choice([TASKS[0], TASKS[0], TASKS[1], TASKS[1], TASKS[2]]),
            "priority": chance.choice([0, 1, 5, 5, 5, 9]), "delay_s": chance.choice([0, 0, 0, 0.5, 3, 20]),
            "max_retries": chance.choice([0, 1, 2]), "timeout_s": chance.choice([1, 3, 8]),
            **({} if self.limiter is None else self.limiter.limit_for_a_job()),
        }  # fmt: skip


class Runner:
    """Runs seeds; holds what they share outside of the simulation, a folder with the names of the tasks."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jobyard-simulation-")
        run_dir = RunDir(Path(self._folder.name))
        run_dir.make()
        write_catalog(run_dir, {task: TaskOptions() for task in ALL_TASKS})
        self.path = run_dir.path

    def execute(self, seed: int, *, break_it: Callable[[Run], object] = lambda run: None) -> Run:
        """Run one seed; a violation is raised with its trace. `break_it` breaks something before the run."""
        run = Run(seed, self.path)
        break_it(run)
        try:
            run.execute()
        except Violation as violation:
            run.event_queue.note("VIOLATION", str(violation))
            raise RunFailed(run, violation) from violation
        return run

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class RunFailed(AssertionError):
    """A run that violated an invariant."""

    def __init__(self, run: Run, violation: Violation) -> None:
        super().__init__(f"seed {run.seed}: {violation}")
        self.run = run
