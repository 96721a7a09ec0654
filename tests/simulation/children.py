"""Simulated executor children: their `ExecutorHandle` as a worker sees it, and tasks that end in every possible way.

A simulated child reads one packet after the other, as the real one does; the worker can take back what it has not read. Its
reports reach the worker before its death becomes visible.
"""

from __future__ import annotations

import itertools
import json
import signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from jobyard.engine.executor.interrupt import Why
from jobyard.engine.jobs.job import ExecutionStatus, Outcome
from jobyard.engine.wire.hub import Envelope, Network, Peer
from jobyard.engine.wire.messages import Done, Progressed, Run
from jobyard.engine.worker.executor_handle import SPAWN_S, ExecutorHandle
from jobyard.engine.world import World
from tests.simulation.event_queue import EventQueue, Violation
from tests.simulation.network import join
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.checker import Checker

TASKS = ("quick", "slow", "deaf")
"""Short enough to be sent by the dozen; as long as usual work; one that only SIGKILL ends."""
ALL_TASKS = (*TASKS, "long", "second", "hour")
MAX_S = 12.0
FOR_EVER_S = 1e9
EXACT_S = {"second": 1.0, "hour": 3600.0}


class ExecutorFleet:
    """The current fault rates of tasks and children."""

    def __init__(self, event_queue: EventQueue, checker: Checker) -> None:
        self.event_queue = event_queue
        self.checker = checker
        self.failure_rate = 0.0
        self.death_rate = 0.0
        self.hang_rate = 0.0
        self.spawn_failure_rate = 0.0
        self.is_deaf = False
        self.pids = itertools.count(100)

    def duration_s(self, task: str) -> float:
        """How long this task takes, if it ever ends."""
        if task in EXACT_S:
            return EXACT_S[task]
        if task == "long":
            return self.event_queue.between(5, 35)
        if self.event_queue.happens(self.hang_rate):
            return FOR_EVER_S
        if task == "quick":
            return self.event_queue.between(0.0001, 0.003)
        return self.event_queue.between(0.01, MAX_S if self.event_queue.happens(0.2) else 1.5)

    def outcome(self, run: Run) -> Outcome | None:
        """How the task ends; None: its child dies."""
        if self.event_queue.happens(self.death_rate):
            return None
        if not self.event_queue.happens(self.failure_rate):
            return Outcome(status=ExecutionStatus.SUCCESS, result=result_of(run))
        failed = ExecutionStatus.FAILED
        return self.event_queue.chance.choice(
            [
                Outcome(status=failed, error="no"), Outcome(status=failed, error="no"), Outcome(status=failed, error="no"),
                Outcome(status=failed, error="busy", retry_delay_s=round(self.event_queue.between(0, 3), 3)),
                Outcome(status=failed, error="never", unrecoverable=True),
            ]
        )  # fmt: skip


def result_of(run: Run) -> bytes:
    """The result of a task: the attempt's name, so that a result can be matched to its attempt."""
    return json.dumps([run.job_id, run.attempt]).encode()


class SimulatedHandle(ExecutorHandle):
    """The real one's life, without descriptors."""

    def __init__(self, executors: ExecutorFleet, process: Process, network: Network, world: World, number: int) -> None:
        self.number = number
        self.pid = 0
        self.pid_fd = -1
        self.output_fd = process.new_fd(lambda: False)
        self.status = None
        self.is_dead = self.is_lost = self.is_outdated = False
        self.packets: deque[Run] = deque()
        self.is_dismissed = False
        self.child: SimulatedChild | None = None
        self._world = world
        self._network = network
        self.has_exited = self._template_is_gone = False
        self._overdue_at = world.monotonic() + SPAWN_S
        self._waiting = deque()
        self.end = join(executors.event_queue, process, self, lambda: 0.0)
        self.end.is_private = True
        self.peer = cast(Peer, self.end)
        self._process = process
        process.handles[number] = self

    def deliver(self, envelope: Envelope) -> None:
        """Ignored: the child reads only packets."""

    @property
    def far_descriptors(self) -> tuple[int, int, int, int]:
        return 0, 0, 0, 0

    def close_far_ends(self) -> None:
        return

    def take_back(self) -> set[tuple[str, int]]:
        self._process.side_effect("taking back")
        unread = {(run.job_id, run.attempt) for run in (*self._waiting, *self.packets)}
        self._waiting.clear()
        self.packets.clear()
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        self._process.side_effect("an interrupt")
        self._note(f"interrupts ({why.name})", job_id[-6:])
        if self.child is not None:
            self.child.interrupt(why, job_id, attempt)

    def dismiss(self) -> None:
        self._note("dismisses")
        self.is_dismissed = True
        if self.child is not None:
            self.child.schedule_read()

    def read_output(self) -> bytes:
        return b""

    def memory(self) -> int:
        return 0

    def reap(self) -> None:
        if self.child is not None and self.child.status is None and not self._is_overdue():
            raise Violation(f"child {self.pid} is reaped alive")
        self._note("reaps")
        self._network.forget(self.pid_fd)
        self.peer.close()
        self._process.side_effect("what follows a reaped child")

    def _is_overdue(self) -> bool:
        """Forked by one that has hung, after nobody waited for it any more."""
        return not self.has_lived

    def _send(self, run: Run) -> bool:
        self._process.side_effect("a packet")
        if self.is_dismissed or len(self.packets) > 200:
            return False
        self.packets.append(run)
        if self.child is not None:
            self.child.schedule_read()
        return True

    def _signal(self, number: signal.Signals, *, to_group: bool = False) -> None:
        self._process.side_effect(number.name)
        self._note(f"sends {number.name}")
        if self.child is not None:
            self.child.terminate() if number is signal.SIGTERM else self.child.die_of(signal.SIGKILL)

    def _note(self, what: str, *facts: object) -> None:
        self._process.event_queue.note(self._process.who, what, f"child {self.pid or f'number {self.number}'}", *facts)


class SimulatedChild:
    """The child process itself."""

    def __init__(self, executors: ExecutorFleet, process: Process, handle: SimulatedHandle, pid: int) -> None:
        self.pid = pid
        self.pid_fd = -1
        self.is_orphan = False
        self.ended: Callable[[], object] = lambda: None
        self.status: int | None = None
        self.current: Run | None = None
        self._executors = executors
        self.event_queue = executors.event_queue
        self._process = process
        self._handle = handle
        self._who = f"{process.who}/{pid}"
        self._asked: tuple[str, int] | None = None
        self._is_dying = False
        self._run_number = 0
        self.frozen_until = 0.0

    def schedule_read(self) -> None:
        """There is a packet, or the end of them."""
        if self._executors.is_deaf:
            return
        self.event_queue.after(self.event_queue.between(0, 0.0002), self._read)

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        """Store the request to interrupt, and signal the child."""
        self._asked = job_id, attempt
        self.event_queue.after(self.event_queue.between(0, 0.001), self._react_to_interrupt)

    def terminate(self) -> None:
        """SIGTERM to its group."""
        if self.current is None or self.current.task != "deaf":
            self.die_of(signal.SIGTERM)

    def die_of(self, number: int, within_s: float = 0.005) -> None:
        """Send a signal that ends the child."""
        self.event_queue.after(self.event_queue.between(0, within_s), lambda: self._die(-number))

    def die_with_host(self) -> None:
        """Die together with the host."""
        self._die(-signal.SIGKILL)

    def _read(self) -> None:
        if self._is_dying or self.current is not None or self._deferred_while_frozen(self._read):
            return
        if self._handle.packets:
            self._start(self._handle.packets.popleft())
        elif self._handle.is_dismissed:
            self._die(0)

    def _start(self, run: Run) -> None:
        self.current = run
        self._run_number += 1
        number = self._run_number
        self.event_queue.note(self._who, "starts", run.job_id[-6:], f"attempt {run.attempt}")
        self._executors.checker.note_start(run, self._process.owner, self)
        if self.event_queue.happens(0.05):
            self._send(Progressed(job_id=run.job_id, attempt=run.attempt, fraction=0.5, note="half way"))
        duration_s = self._executors.duration_s(run.task)
        self.event_queue.after(duration_s, lambda: self._end_of(run, number, duration_s))
        self._react_to_interrupt()

    def _end_of(self, run: Run, number: int, elapsed_s: float) -> None:
        if self._is_dying or self._run_number != number or self.current is None:
            return
        if self._deferred_while_frozen(lambda: self._end_of(run, number, elapsed_s)):
            return
        outcome = self._executors.outcome(run)
        if outcome is not None:
            self._report(outcome, elapsed_s)
        elif self.event_queue.happens(0.3):
            self._close_line()
        else:
            self._die(self.event_queue.chance.choice([0, 1, -signal.SIGSEGV, -signal.SIGKILL]))

    def _deferred_while_frozen(self, act: Callable[[], None]) -> bool:
        """Whether the child is frozen; if so, `act` runs when that is over."""
        if self.event_queue.now >= self.frozen_until:
            return False
        self.event_queue.at(self.frozen_until, act)
        return True

    def _react_to_interrupt(self) -> None:
        run = self.current
        if self._is_dying or run is None or (run.job_id, run.attempt) != self._asked or run.task == "deaf":
            return
        self._report(Outcome(status=ExecutionStatus.FAILED, error="interrupted"), 0.001)

    def _report(self, outcome: Outcome, elapsed_s: float) -> None:
        run, self.current = self.current, None
        assert run is not None
        self.event_queue.note(self._who, "reports", run.job_id[-6:], f"attempt {run.attempt}", outcome.status, outcome.error or "")
        self._executors.checker.note_report(run, outcome)
        self._send(Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=elapsed_s))
        self.schedule_read()

    def _close_line(self) -> None:
        """The task closes the child's connection but keeps running."""
        self.event_queue.note(self._who, "closes its connection")
        self._run_number += 1
        self._handle.end.other.end()

    def _send(self, message: Done | Progressed) -> None:
        self._handle.end.other.send(message)

    def _die(self, status: int) -> None:
        if self._is_dying:
            return
        self._is_dying = True
        self.event_queue.note(self._who, "dies", status)
        if self.current is not None:
            self._executors.checker.note_killed(self.current)
            self.current = None
        self._handle.end.other.end()
        self.event_queue.after(self.event_queue.between(0, 0.0005), lambda: self._become_reapable(status))

    def _become_reapable(self, status: int) -> None:
        self.status = status
        if self._process.is_alive:
            self._process.wake(self.event_queue.between(0, 0.0001))
        self.ended()
