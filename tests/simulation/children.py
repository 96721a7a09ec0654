"""Executor children, played: what a worker knows of them through `ExecutorHandle`, and tasks that end in every way there is.

A played child reads one packet after the other, as the real one does; what it has not read the worker can take back. What it
reports is there for its worker before its death can be seen.
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
        self.is_deaf = False
        self.pids = itertools.count(100)

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


class PlayedHandle(ExecutorHandle):
    """The real one's life, without descriptors."""

    def __init__(self, labour: Labour, process: Process, network: Network, world: World, number: int) -> None:
        self.number = number
        self.pid = 0
        self.pid_fd = -1
        self.output_fd = process.new_fd(lambda: False)
        self.status = None
        self.is_dead = self.is_lost = self.is_outdated = False
        self.packets: deque[Run] = deque()
        self.is_dismissed = False
        self.child: Child | None = None
        self._world = world
        self._network = network
        self.has_exited = self._template_is_gone = False
        self._overdue_at = world.monotonic() + SPAWN_S
        self._waiting = deque()
        self.end = join(labour.agenda, process, self, lambda: 0.0)
        self.end.is_private = True
        self.peer = cast(Peer, self.end)
        self._process = process
        process.handles[number] = self

    def arrive(self, envelope: Envelope) -> None:
        """The child reads nothing from its line but packets."""

    @property
    def far_descriptors(self) -> tuple[int, int, int, int]:
        return 0, 0, 0, 0

    def close_far_ends(self) -> None:
        return

    def take_back(self) -> set[tuple[str, int]]:
        self._process.effect("taking back")
        unread = {(run.job_id, run.attempt) for run in (*self._waiting, *self.packets)}
        self._waiting.clear()
        self.packets.clear()
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        self._process.effect("an interrupt")
        self._tell_trace(f"interrupts ({why.name})", job_id[-6:])
        if self.child is not None:
            self.child.interrupt(why, job_id, attempt)

    def dismiss(self) -> None:
        self._tell_trace("dismisses")
        self.is_dismissed = True
        if self.child is not None:
            self.child.look_for_work()

    def read_output(self) -> bytes:
        return b""

    def memory(self) -> int:
        return 0

    def reap(self) -> None:
        if self.child is not None and self.child.status is None and not self._is_overdue():
            raise Violation(f"child {self.pid} is buried alive")
        self._tell_trace("buries")
        self._network.forget(self.pid_fd)
        self.peer.close()
        self._process.effect("what follows a burial")

    def _is_overdue(self) -> bool:
        """Forked by one that has hung, after nobody waited for it any more."""
        return not self.has_lived

    def _send(self, run: Run) -> bool:
        self._process.effect("a packet")
        if self.is_dismissed or len(self.packets) > 200:
            return False
        self.packets.append(run)
        if self.child is not None:
            self.child.look_for_work()
        return True

    def _signal(self, number: signal.Signals, *, to_group: bool = False) -> None:
        self._process.effect(number.name)
        self._tell_trace(f"sends {number.name}")
        if self.child is not None:
            self.child.terminate() if number is signal.SIGTERM else self.child.die_of(signal.SIGKILL)

    def _tell_trace(self, what: str, *facts: object) -> None:
        self._process.agenda.note(self._process.who, what, f"child {self.pid or f'number {self.number}'}", *facts)


class Child:
    """The process at the other end."""

    def __init__(self, labour: Labour, process: Process, handle: PlayedHandle, pid: int) -> None:
        self.pid = pid
        self.pid_fd = -1
        self.is_orphan = False
        self.ended: Callable[[], object] = lambda: None
        self.status: int | None = None
        self.current: Run | None = None
        self._labour = labour
        self.agenda = labour.agenda
        self._process = process
        self._line = handle
        self._who = f"{process.who}/{pid}"
        self._asked: tuple[str, int] | None = None
        self._is_dying = False
        self._run_number = 0
        self.frozen_until = 0.0

    def look_for_work(self) -> None:
        """There is a packet, or the end of them."""
        if self._labour.is_deaf:
            return
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
        self._line.end.other.end()

    def _tell(self, message: Done | Progressed) -> None:
        self._line.end.other.send(message)

    def _die(self, status: int) -> None:
        if self._is_dying:
            return
        self._is_dying = True
        self.agenda.note(self._who, "dies", status)
        if self.current is not None:
            self._labour.judge.note_killed(self.current)
            self.current = None
        self._line.end.other.end()
        self.agenda.after(self.agenda.between(0, 0.0005), lambda: self._be_seen_dead(status))

    def _be_seen_dead(self, status: int) -> None:
        self.status = status
        if self._process.is_alive:
            self._process.wake(self.agenda.between(0, 0.0001))
        self.ended()
