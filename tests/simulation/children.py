"""Executor children, played: what a worker knows of them through `ExecutorHandle`, and tasks that end in every way there is.

A played child reads one packet after the other, as the real one does; what it has not read the worker can take back. What it
reports is there for its worker before its death can be seen.
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
from tests.simulation.agenda import Agenda, Violation
from tests.simulation.network import join
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.judge import Judge

TASKS = ("quick", "slow", "deaf")
"""Short enough to be handed over by the dozen; as long as work is; one that heeds nothing but SIGKILL."""
EVERY_TASK = (*TASKS, "long", "second", "hour")
LONGEST_S = 12.0
FOR_EVER_S = 1e9
EXACT_S = {"second": 1.0, "hour": 3600.0}


class Labour:
    """How tasks fare now, and what children are known."""

    def __init__(self, agenda: Agenda, judge: Judge) -> None:
        self.agenda = agenda
        self.judge = judge
        self.failure_rate = 0.0
        self.death_rate = 0.0
        self.hang_rate = 0.0
        self.hire_failure_rate = 0.0
        self.pids = itertools.count(100)

    def spawn(self, process: Process) -> PlayedLine:
        """What a worker is given as `hire`."""
        process.effect("a fork")
        if self.agenda.happens(self.hire_failure_rate):
            raise OSError(errno.EAGAIN, "too many processes")
        return PlayedLine(self, process)

    def duration_s(self, task: str) -> float:
        """How long this one takes, if it ever ends."""
        if task in EXACT_S:
            return EXACT_S[task]
        if task == "long":
            return self.agenda.between(5, 35)
        if self.agenda.happens(self.hang_rate):
            return FOR_EVER_S
        if task == "quick":
            return self.agenda.between(0.0001, 0.003)
        return self.agenda.between(0.01, LONGEST_S if self.agenda.happens(0.2) else 1.5)

    def outcome(self, run: Run) -> Outcome | None:
        """How this one ends; None: with the child's death."""
        if self.agenda.happens(self.death_rate):
            return None
        if not self.agenda.happens(self.failure_rate):
            return Outcome(status=ExecutionStatus.SUCCESS, result=result_of(run))
        failed = ExecutionStatus.FAILED
        return self.agenda.chance.choice(
            [
                Outcome(status=failed, error="no"), Outcome(status=failed, error="no"), Outcome(status=failed, error="no"),
                Outcome(status=failed, error="busy", retry_delay_s=round(self.agenda.between(0, 3), 3)),
                Outcome(status=failed, error="never", unrecoverable=True),
            ]
        )  # fmt: skip


def result_of(run: Run) -> bytes:
    """Names the attempt, so that a result can be known by whose it is."""
    return json.dumps([run.job_id, run.attempt]).encode()


class PlayedLine:
    """See `ExecutorHandle`."""

    def __init__(self, labour: Labour, process: Process) -> None:
        self.pid = next(labour.pids)
        self.pid_fd = next(fd for fd in itertools.count(10) if fd not in process.readable)
        self.output_fd = -self.pid_fd
        self.peer = join(labour.agenda, process, self, lambda: 0.0)
        self.peer.is_private = True
        self.packets: deque[Run] = deque()
        self.is_dismissed = False
        self.child = Child(labour, process, self)
        process.readable[self.pid_fd] = lambda: self.child.status is not None
        self._process = process
        labour.judge.lines.setdefault(process.owner, []).append(self)

    def arrive(self, envelope: Envelope) -> None:
        """The child reads nothing from its line but packets."""

    def send(self, run: Run) -> bool:
        self._process.effect("a packet")
        if self.is_dismissed or len(self.packets) > 200:
            return False
        self.packets.append(run)
        self.child.look_for_work()
        return True

    def take_back(self) -> list[Run]:
        self._process.effect("taking back")
        unread = list(self.packets)
        self.packets.clear()
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        self._process.effect("an interrupt")
        self._tell_trace(f"interrupts ({why.name})", job_id[-6:])
        self.child.interrupt(why, job_id, attempt)

    def terminate(self) -> None:
        self._process.effect("SIGTERM")
        self._tell_trace("terminates")
        self.child.terminate()

    def kill(self) -> None:
        self._process.effect("SIGKILL")
        self._tell_trace("kills")
        self.child.die_of(signal.SIGKILL)

    def dismiss(self) -> None:
        self._tell_trace("dismisses")
        self.is_dismissed = True
        self.child.look_for_work()

    def read_output(self) -> bytes:
        return b""

    def memory(self) -> int:
        return 0

    def reap(self) -> int:
        if self.child.status is None:
            raise Violation(f"child {self.pid} is buried alive")
        self._tell_trace("buries")
        self._process.readable.pop(self.pid_fd, None)
        self.peer.close()
        self._process.effect("what follows a burial")
        return self.child.status

    def _tell_trace(self, what: str, *facts: object) -> None:
        self.child.agenda.note(self._process.who, what, f"child {self.pid}", *facts)


class Child:
    """The process at the other end."""

    def __init__(self, labour: Labour, process: Process, handle: PlayedLine) -> None:
        self.status: int | None = None
        self.current: Run | None = None
        self._labour = labour
        self.agenda = labour.agenda
        self._process = process
        self._line = handle
        self._who = f"{process.who}/{handle.pid}"
        self._asked: tuple[str, int] | None = None
        self._is_dying = False
        self._run_number = 0
        self.frozen_until = 0.0

    def look_for_work(self) -> None:
        """There is a packet, or the end of them."""
        self.agenda.after(self.agenda.between(0, 0.0002), self._read)

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        """The page says so, and the signal says: look."""
        self._asked = job_id, attempt
        self.agenda.after(self.agenda.between(0, 0.001), self._heed)

    def terminate(self) -> None:
        """SIGTERM to its group."""
        if self.current is None or self.current.task != "deaf":
            self.die_of(signal.SIGTERM)

    def die_of(self, number: int, within_s: float = 0.005) -> None:
        """A signal that ends it."""
        self.agenda.after(self.agenda.between(0, within_s), lambda: self._die(-number))

    def vanish(self) -> None:
        """With its host."""
        self._die(-signal.SIGKILL)

    def _read(self) -> None:
        if self._is_dying or self.current is not None or self._waits(self._read):
            return
        if self._line.packets:
            self._start(self._line.packets.popleft())
        elif self._line.is_dismissed:
            self._die(0)

    def _start(self, run: Run) -> None:
        self.current = run
        self._run_number += 1
        number = self._run_number
        self.agenda.note(self._who, "starts", run.job_id[-6:], f"attempt {run.attempt}")
        self._labour.judge.note_start(run, self._process.owner, self)
        if self.agenda.happens(0.05):
            self._tell(Progressed(job_id=run.job_id, attempt=run.attempt, fraction=0.5, note="half way"))
        duration_s = self._labour.duration_s(run.task)
        self.agenda.after(duration_s, lambda: self._end_of(run, number, duration_s))
        self._heed()

    def _end_of(self, run: Run, number: int, elapsed_s: float) -> None:
        if self._is_dying or self._run_number != number or self.current is None:
            return
        if self._waits(lambda: self._end_of(run, number, elapsed_s)):
            return
        outcome = self._labour.outcome(run)
        if outcome is not None:
            self._report(outcome, elapsed_s)
        elif self.agenda.happens(0.3):
            self._break_off()
        else:
            self._die(self.agenda.chance.choice([0, 1, -signal.SIGSEGV, -signal.SIGKILL]))

    def _waits(self, act: Callable[[], None]) -> bool:
        """Whether it is frozen; then it does that afterwards."""
        if self.agenda.now >= self.frozen_until:
            return False
        self.agenda.at(self.frozen_until, act)
        return True

    def _heed(self) -> None:
        run = self.current
        if self._is_dying or run is None or (run.job_id, run.attempt) != self._asked or run.task == "deaf":
            return
        self._report(Outcome(status=ExecutionStatus.FAILED, error="interrupted"), 0.001)

    def _report(self, outcome: Outcome, elapsed_s: float) -> None:
        run, self.current = self.current, None
        assert run is not None
        self.agenda.note(self._who, "reports", run.job_id[-6:], f"attempt {run.attempt}", outcome.status, outcome.error or "")
        self._labour.judge.note_report(run, outcome)
        self._tell(Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=elapsed_s))
        self.look_for_work()

    def _break_off(self) -> None:
        """The task closes its line and lives on."""
        self.agenda.note(self._who, "breaks off")
        self._run_number += 1
        self._line.peer.other.end()

    def _tell(self, message: Done | Progressed) -> None:
        self._line.peer.other.send(message)

    def _die(self, status: int) -> None:
        if self._is_dying:
            return
        self._is_dying = True
        self.agenda.note(self._who, "dies", status)
        if self.current is not None:
            self._labour.judge.note_killed(self.current)
            self.current = None
        self._line.peer.other.end()
        self.agenda.after(self.agenda.between(0, 0.0005), lambda: self._be_seen_dead(status))

    def _be_seen_dead(self, status: int) -> None:
        self.status = status
        if self._process.is_alive:
            self._process.wake(self.agenda.between(0, 0.0001))
