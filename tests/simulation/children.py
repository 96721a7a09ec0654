"""Simulated executor children: their `ExecutorHandle` as a worker sees it, and tasks that end in every possible way.

A simulated child reads one packet after the other, as the real one does; the worker can take back what it has not read. Its
reports reach the worker before its death becomes visible.
"""

from __future__ import annotations

import errno
import itertools
import json
import signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobyard.engine.executor.interrupt import Why
from jobyard.engine.jobs.job import ExecutionStatus, Outcome
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Done, Progressed, Run
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
        self.pids = itertools.count(100)

    def spawn(self, process: Process) -> SimulatedHandle:
        """The `spawn` function of a worker."""
        process.side_effect("a fork")
        if self.event_queue.happens(self.spawn_failure_rate):
            raise OSError(errno.EAGAIN, "too many processes")
        return SimulatedHandle(self, process)

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


class SimulatedHandle:
    """See `ExecutorHandle`."""

    def __init__(self, executors: ExecutorFleet, process: Process) -> None:
        self.pid = next(executors.pids)
        self.pid_fd = next(fd for fd in itertools.count(10) if fd not in process.readable)
        self.output_fd = -self.pid_fd
        self.peer = join(executors.event_queue, process, self, lambda: 0.0)
        self.peer.is_private = True
        self.packets: deque[Run] = deque()
        self.is_dismissed = False
        self.child = SimulatedChild(executors, process, self)
        process.readable[self.pid_fd] = lambda: self.child.status is not None
        self._process = process
        executors.checker.handles.setdefault(process.owner, []).append(self)

    def deliver(self, envelope: Envelope) -> None:
        """Ignored: the child reads only packets."""

    def send(self, run: Run) -> bool:
        self._process.side_effect("a packet")
        if self.is_dismissed or len(self.packets) > 200:
            return False
        self.packets.append(run)
        self.child.schedule_read()
        return True

    def take_back(self) -> list[Run]:
        self._process.side_effect("taking back")
        unread = list(self.packets)
        self.packets.clear()
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        self._process.side_effect("an interrupt")
        self._note(f"interrupts ({why.name})", job_id[-6:])
        self.child.interrupt(why, job_id, attempt)

    def terminate(self) -> None:
        self._process.side_effect("SIGTERM")
        self._note("terminates")
        self.child.terminate()

    def kill(self) -> None:
        self._process.side_effect("SIGKILL")
        self._note("kills")
        self.child.die_of(signal.SIGKILL)

    def dismiss(self) -> None:
        self._note("dismisses")
        self.is_dismissed = True
        self.child.schedule_read()

    def read_output(self) -> bytes:
        return b""

    def memory(self) -> int:
        return 0

    def reap(self) -> int:
        if self.child.status is None:
            raise Violation(f"child {self.pid} is reaped alive")
        self._note("reaps")
        self._process.readable.pop(self.pid_fd, None)
        self.peer.close()
        self._process.side_effect("what follows a reaped child")
        return self.child.status

    def _note(self, what: str, *facts: object) -> None:
        self.child.event_queue.note(self._process.who, what, f"child {self.pid}", *facts)


class SimulatedChild:
    """The child process itself."""

    def __init__(self, executors: ExecutorFleet, process: Process, handle: SimulatedHandle) -> None:
        self.status: int | None = None
        self.current: Run | None = None
        self._executors = executors
        self.event_queue = executors.event_queue
        self._process = process
        self._handle = handle
        self._who = f"{process.who}/{handle.pid}"
        self._asked: tuple[str, int] | None = None
        self._is_dying = False
        self._run_number = 0
        self.frozen_until = 0.0

    def schedule_read(self) -> None:
        """A packet has arrived, or the last one has."""
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
        self._handle.peer.other.end()

    def _send(self, message: Done | Progressed) -> None:
        self._handle.peer.other.send(message)

    def _die(self, status: int) -> None:
        if self._is_dying:
            return
        self._is_dying = True
        self.event_queue.note(self._who, "dies", status)
        if self.current is not None:
            self._executors.checker.note_killed(self.current)
            self.current = None
        self._handle.peer.other.end()
        self.event_queue.after(self.event_queue.between(0, 0.0005), lambda: self._become_reapable(status))

    def _become_reapable(self, status: int) -> None:
        self.status = status
        if self._process.is_alive:
            self._process.wake(self.event_queue.between(0, 0.0001))
