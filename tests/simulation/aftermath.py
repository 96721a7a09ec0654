"""The checks after the faults: every job finishes, and then nothing is left that delays new work.

wait until settled ──▶ idle ──▶ new jobs start at once ──▶ every slot is usable ──▶ a cancellation ──▶ a death in a backlog
"""

from __future__ import annotations

import json

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Status
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CancelJob, Json
from tests.simulation.clients import Call, Clients
from tests.simulation.event_queue import Violation
from tests.simulation.host import NAMES, QUEUE_NAME, Cluster, Host

MAX_SETTLE_S = 240.0
GRACE_S = 60.0
IDLE_S = 30.0
MAX_IDLE_TICKS = 60
AT_ONCE_S = 0.2
NEW_JOBS = 4
AFTER_A_DEATH_S = 4.0


class Aftermath:
    """See the module; every step raises `Violation`."""

    def __init__(self, cluster: Cluster, hosts: list[Host], clients: Clients) -> None:
        self._cluster = cluster
        self._queue = cluster.event_queue
        self._checker = cluster.checker
        self._hosts = hosts
        self._clients = clients

    def wait_until_settled(self) -> None:
        """Everything finishes in bounded time: attempts, retries and pauses are bounded, and so is the error of a wrong clock."""
        self._checker.faults_over_since = self._queue.now
        ends_at = self._queue.now + MAX_SETTLE_S
        while (left := self._checker.unfinished()) or self._clients.pending:
            latest = max((self._checker.due_at(job) for job in left), default=0.0)
            if self._queue.now > max(ends_at, latest + GRACE_S):
                state = [f"{job.job_id[-6:]} {job.status}" for job in left]
                raise Violation(f"never ended: {state}, {self._clients.pending} requests without an answer")
            self._queue.pass_time(1.0)
            self._checker.check_blocked()
        self._checker.check_final_state()

    def check_idle(self) -> None:
        """Without work, processes hardly tick, the queue is empty and workers run nothing."""
        self._queue.pass_time(self._cluster.settings.lease_s + 5)
        for host in self._hosts:
            if (answer := _counters_of(host, QUEUE_NAME))["size"] != 0:
                raise Violation(f"everything has ended, and the queue of {host.name} has {answer}")
            for name in host.network.components("worker"):
                if _counters_of(host, name)["currently_running"] != 0:
                    raise Violation(f"everything has ended, and {name} of {host.name} runs something")
        before = {process: process.ticks for host in self._hosts for process in host.processes()}
        self._queue.pass_time(IDLE_S)
        for process, ticks in before.items():
            if not process.is_alive or process.ticks - ticks > MAX_IDLE_TICKS:
                raise Violation(f"{process.who} had {process.ticks - ticks} ticks in {IDLE_S} s without work")

    def check_new_jobs_start(self) -> None:
        """New jobs run at once on every host, whichever process accepts, claims or runs them."""
        self._cluster.executors.failure_rate = 0.0
        for host in self._hosts * NEW_JOBS:
            new = self._submit(host, 1, task="quick", priority=0)
            self._queue.pass_time(AT_ONCE_S)
            self._require_finished(new, AT_ONCE_S)

    def check_every_slot(self) -> None:
        """As many jobs as there are slots run at the same time."""
        for host in self._hosts:
            count = self._cluster.settings.concurrency * len(host.network.components("worker"))
            new = self._submit(host, count, task="second", timeout_s=5) if len(self._hosts) == 1 else []
            self._queue.pass_time(AT_ONCE_S)
            idle = [job_id for job_id in new if self._status(job_id) is not Status.RUNNING]
            if idle:
                raise Violation(f"with {count} free slots, {idle} do not run after {AT_ONCE_S} s")
            self._queue.pass_time(1.0 + AT_ONCE_S)
            self._require_finished(new, 1.0)

    def check_cancel(self) -> None:
        """A running task is cancelled at once."""
        host = self._queue.chance.choice(self._hosts)
        new = self._submit(host, 1, task="hour", timeout_s=3600)
        self._queue.pass_time(AT_ONCE_S)
        executing_host = next(host for host in self._hosts if self._is_run_by(host, new[0]))
        self._clients.send_change(CancelJob, new[0], host=executing_host)
        self._queue.pass_time(AT_ONCE_S)
        if self._status(new[0]) not in (Status.CANCELLED, None):
            raise Violation(f"{new[0]} was cancelled {AT_ONCE_S} s ago and is {self._status(new[0])}")

    def check_death_in_backlog(self) -> None:
        """A process dies in the middle of a backlog. It is replaced and its work continues before any lease expires."""
        host = self._queue.chance.choice(self._hosts)
        for priority in (5, 0, 9, 5):
            self._submit(host, 5, task="second", timeout_s=5, priority=priority)
        slots = self._cluster.settings.concurrency * len(host.network.components("worker"))
        self._queue.pass_time(self._queue.between(0, 3))
        host.network.processes[self._queue.chance.choice(NAMES)].kill("killed in the aftermath")
        longest_s = 20 / slots * 1.0 + AFTER_A_DEATH_S
        ends_at = self._queue.now + longest_s
        while self._checker.unfinished() and self._queue.now < ends_at:
            self._queue.pass_time(0.2)
        self._require_finished(list(self._checker.accepted), longest_s)
        self._checker.check_final_state()
        self._queue.pass_time(AFTER_A_DEATH_S)
        self.check_new_jobs_start()

    # ---- helpers

    def _submit(self, host: Host, count: int, **fields: object) -> list[str]:
        known = set(self._checker.accepted)
        self._clients.submit([{"max_retries": 0, "timeout_s": 5} | fields] * count, host=host, tries=1)
        self._queue.pass_time(0.05)
        new = [job_id for job_id in self._checker.accepted if job_id not in known]
        if len(new) != count:
            raise Violation(f"without faults, {count} jobs were not accepted")
        return new

    def _require_finished(self, job_ids: list[str], within_s: float) -> None:
        left = [job for job in self._checker.unfinished() if job.job_id in job_ids]
        if left:
            raise Violation(f"not done within {within_s} s: {[f'{job.job_id[-6:]} {job.status} {job.holder}' for job in left]}")

    def _status(self, job_id: str) -> Status | None:
        job = self._cluster.store.job(job_id)
        return job.status if job is not None else None

    def _is_run_by(self, host: Host, job_id: str) -> bool:
        job = self._cluster.store.job(job_id)
        if job is None or job.locked_by is None:
            raise Violation(f"a new job does not run after {AT_ONCE_S} s: {job}")
        return job.locked_by.startswith(f"{host.name}:") and not lifecycle.is_terminal(job)

    def _ask(self, host: Host, name: str, question: Message) -> dict[str, object]:
        answers: list[Message | None] = []
        Call(self._queue, host, name, question, answers.append)
        self._queue.pass_time(1.0)
        if len(answers) != 1 or not isinstance(answers[0], Json):
            raise Violation(f"{name} of {host.name} does not answer")
        state: dict[str, object] = json.loads(answers[0].body)
        return state


def _counters_of(host: Host, name: str) -> dict[str, object]:
    """What a process of the host would publish to control."""
    role = host.network.processes[name].role
    assert role is not None
    return role.counters().stats
