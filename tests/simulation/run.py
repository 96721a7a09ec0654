"""One run: a system with some tens of jobs and much trouble, then peace, in which everything must come to its end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from jobyard.engine.config import read_settings
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.run_dir import RunDir
from tests.simulation.agenda import Agenda, Violation
from tests.simulation.children import EVERY_TASK, TASKS, Labour
from tests.simulation.clients import Clients
from tests.simulation.faults import Trouble
from tests.simulation.host import Host, Town
from tests.simulation.judge import Judge
from tests.simulation.network import Weather
from tests.simulation.peace import Peace
from tests.simulation.store import SharedStore

SETTINGS = {
    "POLL_S": "2", "LEASE_S": "15", "RETRY_BASE_S": "2", "MAX_LOST": "3", "HANG_S": "6", "DRAIN_S": "5", "CONCURRENCY": "2",
    "WORKERS": "2", "WATCHERS": "2",
}  # fmt: skip


class Run:
    """What one seed leads to."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.agenda = Agenda(seed)
        chance = self.agenda.chance
        hosts = chance.choice([1, 1, 1, 2])
        is_shared = hosts > 1 or chance.random() < 0.3
        drawn = {"MONGO_URI": "mongodb://nowhere" if is_shared else ""}
        drawn |= {"MAX_JOBS_PER_CHILD": chance.choice(["0", "0", "2"]), "RETENTION_S": chance.choice(["604800", "0", "20"])}
        settings = read_settings(SETTINGS | drawn)
        self.judge = Judge(self.agenda, settings)
        self.town = Town(
            agenda=self.agenda, judge=self.judge, settings=settings, store=SharedStore(self.judge), weather=Weather(),
            labour=Labour(self.agenda, self.judge), folder=folder,
        )  # fmt: skip
        skews_s = [0.0, chance.choice([-30.0, -1.0, 1.0, 30.0])]
        self.hosts = [Host(self.town, number=number, wall_offset_s=skews_s[number]) for number in range(hosts)]
        self.judge.clocks_are_right = hosts == 1
        self.clients = Clients(self.agenda, self.judge, self.hosts)
        self.trouble_s = chance.choice([10.0, 30.0, 60.0])
        self.trouble = Trouble(self.town, self.hosts, self.clients, lasts_s=self.trouble_s)

    def play(self) -> None:
        """From the first boot to the last check; raises `Violation`."""
        chance = self.agenda.chance
        self.agenda.note("seed", str(self.seed), f"{len(self.hosts)} hosts:", ", ".join(self.trouble.kinds) or "no trouble")
        for host in self.hosts:
            host.boot_up()
        self.trouble.begin()
        self._plan_jobs()
        self.agenda.pass_time(self.trouble_s)
        self.trouble.end()
        if len(self.hosts) > 1 and chance.random() < 0.4:
            self.hosts.pop().lose()
        peace = Peace(self.town, self.hosts, self.clients)
        peace.wait_for_the_end()
        peace.rest()
        peace.run_new_jobs_at_once()
        for step in (peace.use_every_slot, peace.cancel_what_runs, peace.outlive_a_death):
            if self.agenda.happens(0.5):
                step()

    def _plan_jobs(self) -> None:
        chance = self.agenda.chance
        for _ in range(chance.choice([3, 10, 25])):
            at = chance.uniform(0, self.trouble_s) if chance.random() < 0.7 else self.trouble_s / 2
            jobs = [self._a_job() for _ in range(chance.choice([1, 1, 1, 3, 8]))]
            if chance.random() < 0.15:
                jobs = [self._a_job() | {"task": "long", "timeout_s": 40, "delay_s": 0}]
            elif chance.random() < 0.15:
                jobs = [self._a_job() | {"task": "quick", "delay_s": 0}] * 12
            key = f"k{chance.randrange(5)}" if len(jobs) == 1 and chance.random() < 0.2 else None
            if key is not None:
                jobs = [{"task": "quick", "priority": int(key[1]), "timeout_s": 3}]
            self.agenda.at(at, lambda jobs=jobs, key=key: self.clients.submit(jobs, key=key))  # type: ignore[misc]

    def _a_job(self) -> dict[str, object]:
        chance = self.agenda.chance
        return {
            "task": chance.choice([TASKS[0], TASKS[0], TASKS[1], TASKS[1], TASKS[2]]),
            "priority": chance.choice([0, 1, 5, 5, 5, 9]), "delay_s": chance.choice([0, 0, 0, 0.5, 3, 20]),
            "max_retries": chance.choice([0, 1, 2]), "timeout_s": chance.choice([1, 3, 8]),
        }  # fmt: skip


class Stage:
    """What runs share outside of the simulation: a folder with the tasks' names."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jobyard-simulation-")
        run_dir = RunDir(Path(self._folder.name))
        run_dir.make()
        write_catalog(run_dir, {task: TaskOptions() for task in EVERY_TASK})
        self.path = run_dir.path

    def play(self, seed: int, *, sabotage: Callable[[Run], object] = lambda run: None) -> Run:
        """One run; a violation is told with the way that led there. `sabotage` breaks something before it begins."""
        run = Run(seed, self.path)
        sabotage(run)
        try:
            run.play()
        except Violation as violation:
            run.agenda.note("VIOLATION", str(violation))
            raise Failed(run, violation) from violation
        return run

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class Failed(AssertionError):
    """A run in which something happened that must not."""

    def __init__(self, run: Run, violation: Violation) -> None:
        super().__init__(f"seed {run.seed}: {violation}")
        self.run = run
