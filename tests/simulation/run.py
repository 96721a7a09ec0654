"""One run: a system with some tens of jobs and much trouble, then peace, in which everything must come to its end."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from engine import lifecycle
from engine.config import read_settings
from engine.tasks.catalog import write_catalog
from engine.tasks.registry import TaskOptions
from engine.wire.messages import GetStats, Json, Message
from engine.wire.run_dir import RunDir
from tests.simulation.agenda import Agenda, Violation
from tests.simulation.children import TASKS, Labour
from tests.simulation.clients import Call, Clients
from tests.simulation.faults import Trouble
from tests.simulation.host import Host, Town
from tests.simulation.judge import Judge
from tests.simulation.network import Weather
from tests.simulation.store import SharedStore, StoreWeather

SETTINGS = {
    "POLL_S": "2", "LEASE_S": "10", "RETRY_BASE_S": "2", "MAX_LOST": "3", "HANG_S": "10", "DRAIN_S": "5", "CONCURRENCY": "2",
}  # fmt: skip
PEACE_S = 240.0
REST_S = 30.0
MOST_TURNS_AT_REST = 60
AT_ONCE_S = 1.0


class Run:
    """What one seed leads to."""

    def __init__(self, seed: int, folder: Path, *, hosts: int | None = None) -> None:
        self.seed = seed
        self.agenda = Agenda(seed)
        chance = self.agenda.chance
        hosts = hosts or chance.choice([1, 1, 1, 2])
        settings = read_settings(SETTINGS | {"MAX_JOBS_PER_CHILD": chance.choice(["0", "0", "2"])})
        self.judge = Judge(self.agenda, settings)
        self.town = Town(
            agenda=self.agenda, judge=self.judge, settings=settings, store=SharedStore(self.judge), store_weather=StoreWeather(),
            weather=Weather(), labour=Labour(self.agenda, self.judge), folder=folder,
        )  # fmt: skip
        skews_s = [0.0, chance.choice([-30.0, -1.0, 1.0, 30.0])]
        self.hosts = [Host(self.town, number=number, wall_offset_s=skews_s[number]) for number in range(hosts)]
        self.judge.clocks_are_right = hosts == 1
        self.clients = Clients(self.agenda, self.judge, self.hosts)
        self.trouble_s = chance.choice([10.0, 30.0, 60.0])
        self.trouble = Trouble(self.town, self.hosts, self.clients, lasts_s=self.trouble_s)

    def play(self) -> None:
        """From the first boot to the last check; raises `Violation`."""
        self.agenda.note("seed", str(self.seed), f"{len(self.hosts)} hosts:", ", ".join(self.trouble.kinds) or "no trouble")
        for host in self.hosts:
            host.boot_up()
        self.trouble.begin()
        self._plan_jobs()
        self.agenda.pass_time(self.trouble_s)
        self.trouble.end()
        self._wait_for_the_end()
        self.judge.check_at_rest()
        self._rest()
        self._run_one_more()

    def _plan_jobs(self) -> None:
        chance = self.agenda.chance
        for _ in range(chance.choice([3, 10, 25])):
            at = chance.uniform(0, self.trouble_s) if chance.random() < 0.7 else self.trouble_s / 2
            jobs = [self._a_job() for _ in range(chance.choice([1, 1, 1, 3, 8]))]
            key = f"k{chance.randrange(5)}" if len(jobs) == 1 and chance.random() < 0.2 else None
            if key is not None:
                jobs = [{"task": "quick", "priority": int(key[1])}]
            self.agenda.at(at, lambda jobs=jobs, key=key: self.clients.submit(jobs, key=key))  # type: ignore[misc]

    def _a_job(self) -> dict[str, object]:
        chance = self.agenda.chance
        return {
            "task": chance.choice([TASKS[0], TASKS[0], TASKS[1], TASKS[1], TASKS[2]]), "priority": chance.choice([0, 1, 5, 5, 5, 9]),
            "delay_s": chance.choice([0, 0, 0, 0.5, 3, 20]), "max_retries": chance.choice([0, 1, 2]),
            "timeout_s": chance.choice([1, 3, 8]),
        }  # fmt: skip

    def _wait_for_the_end(self) -> None:
        """In bounded time: attempts, retries and their waits are bounded, and so is what may lie in the future of a wrong clock."""
        self.judge.calm_since = self.agenda.now
        store = self.town.store
        ends_at = self.agenda.now + PEACE_S
        while self.clients.pending or not all(lifecycle.is_terminal(job) for job in store.all_jobs()):
            latest = max((self.judge.due_at(job) for job in store.all_jobs() if not lifecycle.is_terminal(job)), default=0.0)
            if self.agenda.now > max(ends_at, latest + 60):
                left = [f"{job.job_id[-6:]} {job.status}" for job in store.all_jobs() if not lifecycle.is_terminal(job)]
                raise Violation(f"never ended: {left}, {self.clients.pending} requests without an answer")
            self.agenda.pass_time(1.0)

    def _rest(self) -> None:
        """With nothing to do nobody does much; and the queue knows of nothing that the store does not."""
        self.agenda.pass_time(float(self.town.settings.lease_s) + 5)
        for host in self.hosts:
            answer = self._ask(host, "queue-6000", GetStats())
            if answer["size"] != 0:
                raise Violation(f"everything has ended, and the queue of {host.name} has {answer}")
            for name in host.network.components("worker"):
                if self._ask(host, name, GetStats())["currently_running"] != 0:
                    raise Violation(f"everything has ended, and {name} of {host.name} runs something")
        before = {process: process.turns for host in self.hosts for process in host.processes()}
        self.agenda.pass_time(REST_S)
        for process, turns in before.items():
            if not process.is_alive or process.turns - turns > MOST_TURNS_AT_REST:
                raise Violation(f"{process.who} had {process.turns - turns} turns in {REST_S} s without work")

    def _run_one_more(self) -> None:
        """Nothing of the trouble is left that makes a new job wait."""
        for host in self.hosts:
            known = set(self.judge.accepted)
            self.clients.submit([{"task": "quick", "priority": 0, "max_retries": 0}], host=host, tries=1)
            self.town.labour.failure_rate = 0.0
            self.agenda.pass_time(AT_ONCE_S)
            new = [job_id for job_id in self.judge.accepted if job_id not in known]
            job = self.town.store.job(new[0]) if new else None
            if job is None or not lifecycle.is_terminal(job):
                raise Violation(f"a new job is not done within {AT_ONCE_S} s: {job}")

    def _ask(self, host: Host, name: str, question: Message) -> dict[str, object]:
        answers: list[Message | None] = []
        Call(self.agenda, host, name, question, answers.append)
        self.agenda.pass_time(1.0)
        if len(answers) != 1 or not isinstance(answers[0], Json):
            raise Violation(f"{name} of {host.name} does not answer")
        told: dict[str, object] = json.loads(answers[0].body)
        return told


class Stage:
    """What runs share outside of the simulation: a folder with the tasks' names."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jobyard-simulation-")
        run_dir = RunDir(Path(self._folder.name))
        run_dir.make()
        write_catalog(run_dir, {task: TaskOptions() for task in TASKS})
        self.path = run_dir.path

    def play(self, seed: int, *, hosts: int | None = None) -> Run:
        """One run; a violation is told with the way that led there."""
        run = Run(seed, self.path, hosts=hosts)
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
