"""After the trouble: everything comes to its end, then nothing of it is left that holds up new work.

    wait for the end ──▶ rest: nobody does much ──▶ new jobs at once ──▶ every slot ──▶ a cancellation ──▶ a backlog and a death
"""

from __future__ import annotations

import json

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Status
from jobyard.engine.wire.messages import CancelJob, Json, Message
from tests.simulation.agenda import Violation
from tests.simulation.clients import Call, Clients
from tests.simulation.host import NAMES, QUEUE_NAME, Host, Town

LONGEST_PEACE_S = 240.0
AFTER_ITS_TIME_S = 60.0
REST_S = 30.0
MOST_TURNS_AT_REST = 60
AT_ONCE_S = 0.2
NEW_JOBS = 4
AFTER_A_DEATH_S = 4.0


class Peace:
    """See the module; every step raises `Violation`."""

    def __init__(self, town: Town, hosts: list[Host], clients: Clients) -> None:
        self._town = town
        self._agenda = town.agenda
        self._judge = town.judge
        self._hosts = hosts
        self._clients = clients

    def wait_for_the_end(self) -> None:
        """In bounded time: attempts, retries and their waits are bounded, and so is what may lie in the future of a wrong clock."""
        self._judge.calm_since = self._agenda.now
        ends_at = self._agenda.now + LONGEST_PEACE_S
        while (left := self._judge.moving()) or self._clients.pending:
            latest = max((self._judge.due_at(job) for job in left), default=0.0)
            if self._agenda.now > max(ends_at, latest + AFTER_ITS_TIME_S):
                told = [f"{job.job_id[-6:]} {job.status}" for job in left]
                raise Violation(f"never ended: {told}, {self._clients.pending} requests without an answer")
            self._agenda.pass_time(1.0)
        self._judge.check_at_rest()

    def rest(self) -> None:
        """With nothing to do nobody does much; and the queue knows of nothing that the store does not."""
        self._agenda.pass_time(self._town.settings.lease_s + 5)
        for host in self._hosts:
            if (answer := _counted(host, QUEUE_NAME))["size"] != 0:
                raise Violation(f"everything has ended, and the queue of {host.name} has {answer}")
            for name in host.network.components("worker"):
                if _counted(host, name)["currently_running"] != 0:
                    raise Violation(f"everything has ended, and {name} of {host.name} runs something")
        before = {process: process.turns for host in self._hosts for process in host.processes()}
        self._agenda.pass_time(REST_S)
        for process, turns in before.items():
            if not process.is_alive or process.turns - turns > MOST_TURNS_AT_REST:
                raise Violation(f"{process.who} had {process.turns - turns} turns in {REST_S} s without work")

    def run_new_jobs_at_once(self) -> None:
        """Whoever accepts, claims or runs them."""
        self._town.labour.failure_rate = 0.0
        for host in self._hosts * NEW_JOBS:
            new = self._submit(host, 1, task="quick", priority=0)
            self._agenda.pass_time(AT_ONCE_S)
            self._must_have_ended(new, AT_ONCE_S)

    def use_every_slot(self) -> None:
        """As many jobs as there are slots run at the same time."""
        for host in self._hosts:
            count = self._town.settings.concurrency * len(host.network.components("worker"))
            new = self._submit(host, count, task="second", timeout_s=5) if len(self._hosts) == 1 else []
            self._agenda.pass_time(AT_ONCE_S)
            idle = [job_id for job_id in new if self._status(job_id) is not Status.RUNNING]
            if idle:
                raise Violation(f"with {count} free slots, {idle} do not run after {AT_ONCE_S} s")
            self._agenda.pass_time(1.0 + AT_ONCE_S)
            self._must_have_ended(new, 1.0)

    def cancel_what_runs(self) -> None:
        """The task is told at once."""
        host = self._agenda.chance.choice(self._hosts)
        new = self._submit(host, 1, task="hour", timeout_s=3600)
        self._agenda.pass_time(AT_ONCE_S)
        runner = next(host for host in self._hosts if self._is_run_by(host, new[0]))
        self._clients.ask_to_change(CancelJob, new[0], host=runner)
        self._agenda.pass_time(AT_ONCE_S)
        if self._status(new[0]) not in (Status.CANCELLED, None):
            raise Violation(f"{new[0]} was cancelled {AT_ONCE_S} s ago and is {self._status(new[0])}")

    def outlive_a_death(self) -> None:
        """A process dies in the middle of a backlog; it is replaced, and its work goes on, without anybody waiting for a lease."""
        host = self._agenda.chance.choice(self._hosts)
        for priority in (5, 0, 9, 5):
            self._submit(host, 5, task="second", timeout_s=5, priority=priority)
        slots = self._town.settings.concurrency * len(host.network.components("worker"))
        self._agenda.pass_time(self._agenda.between(0, 3))
        host.network.processes[self._agenda.chance.choice(NAMES)].kill("killed in peace")
        longest_s = 20 / slots * 1.0 + AFTER_A_DEATH_S
        ends_at = self._agenda.now + longest_s
        while self._judge.moving() and self._agenda.now < ends_at:
            self._agenda.pass_time(0.2)
        self._must_have_ended(list(self._judge.accepted), longest_s)
        self._judge.check_at_rest()
        self._agenda.pass_time(AFTER_A_DEATH_S)
        self.run_new_jobs_at_once()

    # ---- how it is done

    def _submit(self, host: Host, count: int, **fields: object) -> list[str]:
        known = set(self._judge.accepted)
        self._clients.submit([{"max_retries": 0, "timeout_s": 5} | fields] * count, host=host, tries=1)
        self._agenda.pass_time(0.05)
        new = [job_id for job_id in self._judge.accepted if job_id not in known]
        if len(new) != count:
            raise Violation(f"in peace, {count} jobs were not accepted")
        return new

    def _must_have_ended(self, job_ids: list[str], within_s: float) -> None:
        left = [job for job in self._judge.moving() if job.job_id in job_ids]
        if left:
            raise Violation(f"not done within {within_s} s: {[f'{job.job_id[-6:]} {job.status} {job.holder}' for job in left]}")

    def _status(self, job_id: str) -> Status | None:
        job = self._town.store.job(job_id)
        return job.status if job is not None else None

    def _is_run_by(self, host: Host, job_id: str) -> bool:
        job = self._town.store.job(job_id)
        if job is None or job.locked_by is None:
            raise Violation(f"a new job does not run after {AT_ONCE_S} s: {job}")
        return job.locked_by.startswith(f"{host.name}:") and not lifecycle.is_terminal(job)

    def _ask(self, host: Host, name: str, question: Message) -> dict[str, object]:
        answers: list[Message | None] = []
        Call(self._agenda, host, name, question, answers.append)
        self._agenda.pass_time(1.0)
        if len(answers) != 1 or not isinstance(answers[0], Json):
            raise Violation(f"{name} of {host.name} does not answer")
        told: dict[str, object] = json.loads(answers[0].body)
        return told


def _counted(host: Host, name: str) -> dict[str, object]:
    """What a process of the host would tell control."""
    role = host.network.processes[name].role
    assert role is not None
    return role.counters().stats
