"""Who is charged when a child is ended: its reports may lag behind what it is at. With children that are only told of."""

from __future__ import annotations

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.wire.messages import Done, Run
from jobyard.engine.worker.deadlines import GRACE_S
from jobyard.engine.worker.executor_pool import LEAVE_S, MEMORY_LOOK_S, SUSPECT_AFTER, WITHOUT_TEMPLATE_S, ExecutorPool
from jobyard.engine.worker.slot import LONG_S
from tests.support.builders import a_job, a_log
from tests.support.executor_handles import FakeTemplates
from tests.support.world import FakeWorld

SUCCESS = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
FAILURE = Outcome(status=ExecutionStatus.FAILED, error="no")
MIB = 1 << 20


def a_short_job(timeout_s: float = 60) -> Job:
    return a_job(status=Status.RUNNING, task="short", timeout_s=timeout_s)


class Bench:
    """A workshop of one child at a time, whose task is known to be short."""

    def __init__(self, **asked: str) -> None:
        self.world = FakeWorld()
        self.templates = FakeTemplates()
        self.lines = self.templates.handles
        settings = read_settings({"CONCURRENCY": "1", **asked})
        self.executors = ExecutorPool(settings=settings, world=self.world, log=a_log(), templates=self.templates.as_client())
        self.executors.look_after()
        (self.handle,) = self.lines
        self.hand(a_short_job())
        self.report(self.handle.read())
        self.ended()

    def hand(self, *jobs: Job) -> None:
        """All to the child, because the task is short."""
        self.executors.hand(jobs)

    def report(self, run: Run, outcome: Outcome = SUCCESS) -> None:
        """What the child said of this one arrives."""
        self.executors.note_done(self.handle.peer, Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=0.0001))

    def die(self, status: int | None = None) -> None:
        """The child does, and it is seen."""
        self.handle.status = self.handle.status if status is None else status
        self.handle.is_dead = True
        self.executors.look_after()
        self.executors.reap(self.executors.dead())
        self.executors.look_after()

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.executors.look_after()

    def ended(self) -> dict[str, ExecutionStatus | None]:
        """By job, how their attempts ended since the last look; None: never started."""
        return {end.attempt.job.job_id: None if end.outcome is None else end.outcome.status for end in self.executors.collect()}


def three(bench: Bench, **fields: float) -> list[str]:
    """The ids of three jobs: the child has reported the first, which is not heard yet, runs the second, has not read the third."""
    jobs = [a_short_job(**fields), a_short_job(), a_short_job()]
    bench.hand(*jobs)
    assert [run.job_id for run in bench.handle.unread] == [job.job_id for job in jobs]
    return [job.job_id for job in jobs]


def test_the_end_of_a_drain_charges_nobody_whatever_the_child_is_at() -> None:
    bench = Bench(DRAIN_S="5")
    reported, running, unread = three(bench)
    first = bench.handle.read()
    bench.handle.read()
    bench.executors.drain()

    bench.wait(5)
    at_once = bench.ended()
    bench.report(first)
    bench.wait(0)
    bench.die()

    assert bench.handle.done_to_it == [f"interrupt {reported}", "dismiss", f"interrupt {running}"]
    assert at_once == {unread: None}
    assert bench.ended() == {reported: ExecutionStatus.SUCCESS, running: ExecutionStatus.RELEASED}


def test_a_drain_that_is_over_before_it_began_hands_everything_back() -> None:
    bench = Bench(DRAIN_S="0")
    ids = three(bench)
    bench.handle.read()
    bench.executors.drain()

    bench.wait(0)
    bench.die()

    assert bench.ended() == {ids[0]: ExecutionStatus.RELEASED, ids[1]: None, ids[2]: None}


def test_what_a_child_began_behind_one_whose_time_is_up_costs_no_retry_when_the_child_is_ended() -> None:
    bench = Bench()
    late, running, unread = three(bench, timeout_s=0.01)
    first = bench.handle.read()
    bench.handle.read()

    bench.wait(0.01)
    bench.wait(GRACE_S)
    bench.report(first)
    bench.die(-15)

    assert bench.handle.done_to_it == [f"interrupt {late}", "terminate", "dismiss"]
    ended = bench.ended()
    assert (ended[late], ended[running]) == (ExecutionStatus.TIMEOUT, ExecutionStatus.RELEASED)
    assert ended.get(unread) in (None, ExecutionStatus.RELEASED)


def test_one_whose_time_is_up_is_charged_and_what_waits_behind_it_finds_another_child() -> None:
    bench = Bench()
    late, behind, last = three(bench, timeout_s=0.01)
    bench.handle.read()

    bench.wait(0.01)
    bench.wait(GRACE_S)
    bench.wait(GRACE_S)
    bench.die()

    assert bench.handle.done_to_it == [f"interrupt {late}", "terminate", "kill"]
    assert bench.ended() == {
        late: ExecutionStatus.TIMEOUT, behind: None, last: None,
    }  # fmt: skip


def test_a_cancelled_job_whose_report_is_on_its_way_takes_no_other_with_it() -> None:
    bench = Bench()
    cancelled, running, _ = three(bench)
    bench.handle.read()
    bench.handle.read()

    bench.executors.cancel(cancelled)
    bench.wait(0)
    bench.wait(GRACE_S)
    bench.wait(GRACE_S)
    bench.die()

    ended = bench.ended()
    assert (ended[cancelled], ended[running]) == (ExecutionStatus.CANCELLED, ExecutionStatus.RELEASED)


def test_a_child_that_holds_too_much_costs_the_job_that_it_is_known_to_run_a_retry_and_no_other() -> None:
    bench = Bench(CHILD_MEMORY_MB="10")
    known, maybe, unread = three(bench)
    bench.handle.read()
    bench.handle.read()
    bench.handle.holds_bytes = 11 * MIB

    bench.wait(MEMORY_LOOK_S)
    bench.die()

    ended = {end.attempt.job.job_id: end.outcome for end in bench.executors.collect() if end.outcome is not None}
    assert ended[known].status is ExecutionStatus.CRASHED and "out of memory" in (ended[known].error or "")
    assert ended[maybe].status is ExecutionStatus.RELEASED
    assert unread not in ended or ended[unread].status is ExecutionStatus.RELEASED


def test_the_end_of_a_drain_makes_no_crash_undone() -> None:
    bench = Bench(CHILD_MEMORY_MB="10", DRAIN_S="5")
    greedy = a_short_job()
    bench.hand(greedy)
    bench.handle.read()
    bench.handle.holds_bytes = 11 * MIB
    bench.executors.drain()

    bench.wait(4.9)
    bench.wait(0.1)
    bench.die()

    assert bench.ended() == {greedy.job_id: ExecutionStatus.CRASHED}


@pytest.mark.parametrize("how", [7, -11])
def test_a_child_that_dies_by_itself_is_charged_to_what_it_ran(how: int) -> None:
    bench = Bench()
    reported, running, unread = three(bench)
    first = bench.handle.read()
    bench.handle.read()
    bench.report(first)

    bench.die(how)

    ended = bench.ended()
    assert (ended[reported], ended[running]) == (ExecutionStatus.SUCCESS, ExecutionStatus.CRASHED)
    assert unread not in ended
    assert [run.job_id for run in bench.lines[-1].unread] == [unread]


def test_when_the_hold_is_lost_nothing_that_a_child_has_is_charged() -> None:
    bench = Bench()
    ids = three(bench)
    bench.handle.read()
    bench.handle.read()

    told = bench.executors.abandon()
    bench.die()

    assert (told, bench.handle.done_to_it) == (3, ["kill"])
    assert bench.ended() == {ids[0]: ExecutionStatus.RELEASED, ids[1]: ExecutionStatus.RELEASED, ids[2]: None}


def test_what_finds_no_slot_is_returned_unstarted_unless_one_is_free_soon() -> None:
    bench = Bench()
    (long,) = [a_job(status=Status.RUNNING, task="long")]
    bench.hand(long)
    bench.handle.read()
    bench.wait(LONG_S + 0.001)
    late = a_short_job()

    bench.hand(late)
    before = bench.ended()
    bench.wait(LONG_S + 0.001)

    assert (before, bench.ended()) == ({}, {late.job_id: None})


def test_without_a_template_what_arrives_waits_for_the_next_one() -> None:
    bench = Bench()
    bench.handle.is_outdated = True
    bench.templates.is_open = False
    job = a_short_job()
    bench.hand(job)
    bench.wait(WITHOUT_TEMPLATE_S - 0.1)
    before = bench.ended()

    bench.wait(0.1)

    assert (before, bench.ended()) == ({}, {job.job_id: None})


def test_what_must_not_start_is_returned_unstarted() -> None:
    bench = Bench()
    job = a_short_job()

    bench.executors.give_back([job])

    assert bench.executors.ended_keys() == [(job.job_id, job.epoch)]
    assert bench.ended() == {job.job_id: None}


def test_when_the_hold_is_lost_what_waits_for_a_slot_is_returned_unstarted() -> None:
    bench = Bench()
    running, waiting = a_job(status=Status.RUNNING, task="long"), a_job(status=Status.RUNNING, task="long")
    bench.hand(running, waiting)
    bench.handle.read()

    bench.executors.abandon()
    bench.die()

    assert bench.ended() == {running.job_id: ExecutionStatus.RELEASED, waiting.job_id: None}


def test_a_long_job_takes_all_the_room_of_its_slot_and_a_short_one_a_part() -> None:
    idle, cost = Bench().executors.room(), Bench().executors.costs()["short"]
    short, long = Bench(), Bench()

    short.hand(a_short_job())
    long.hand(a_job(status=Status.RUNNING, task="long"))

    assert idle == (SLOT_UNITS, SLOT_UNITS)
    assert short.executors.room() == (SLOT_UNITS - cost, SLOT_UNITS)
    assert long.executors.room() == (0, SLOT_UNITS)


def test_behind_a_job_that_turns_out_long_there_is_no_room_for_a_short_one_ahead_either() -> None:
    bench = Bench()
    bench.hand(a_job(status=Status.RUNNING, task="long"))
    bench.handle.read()

    bench.wait(LONG_S + 0.001)

    assert bench.executors.room() == (0, 0)


def test_what_is_given_back_is_settled_at_once() -> None:
    bench = Bench()

    bench.executors.give_back([a_short_job()])

    assert bench.executors.next_look_at() == bench.world.monotonic()


# ---- children that are replaced


def test_a_child_that_was_interrupted_runs_no_further_job() -> None:
    """The exception may have hit in the middle of an import, a lock, the set-up of a C extension."""
    bench = Bench()
    late, behind = a_short_job(timeout_s=1), a_short_job()
    bench.hand(late)
    run = bench.handle.read()

    bench.wait(1)
    bench.report(run, Outcome(status=ExecutionStatus.TIMEOUT, error="its time was up"))
    bench.hand(behind)
    bench.wait(0)

    assert bench.handle.done_to_it == [f"interrupt {late.job_id}", "dismiss"]
    assert bench.handle.unread == []


def test_how_fast_a_task_fails_says_nothing_about_how_long_it_takes() -> None:
    bench = Bench()
    for _ in range(20):
        bench.hand(a_job(status=Status.RUNNING, task="broken"))
        bench.report(bench.handle.read(), FAILURE)

    assert "short" in bench.executors.costs() and "broken" not in bench.executors.costs()


@pytest.mark.parametrize("succeeds_elsewhere", [True, False])
def test_a_child_in_which_a_task_fails_is_replaced_if_the_task_succeeds_elsewhere(succeeds_elsewhere: bool) -> None:
    bench = Bench(CONCURRENCY="2")
    for _ in range(SUSPECT_AFTER):
        bench.hand(*(a_job(status=Status.RUNNING, task="mixed") for _ in range(2)))
        bench.wait(0)
        poisoned, sound = bench.lines[:2]
        bench.world.advance(0.001)
        bench.executors.note_done(poisoned.peer, done(poisoned.read(), FAILURE))
        bench.world.advance(0.001)
        bench.executors.note_done(sound.peer, done(sound.read(), SUCCESS if succeeds_elsewhere else FAILURE))

    assert (poisoned.done_to_it, sound.done_to_it) == (["dismiss"] if succeeds_elsewhere else [], [])


def test_a_child_that_is_to_leave_and_does_not_is_killed_and_its_slot_is_free_again() -> None:
    bench = Bench(MAX_JOBS_PER_CHILD="2")
    bench.hand(a_short_job())
    bench.report(bench.handle.read())
    told = list(bench.handle.done_to_it)

    bench.wait(LEAVE_S - 0.1)
    before = list(bench.handle.done_to_it)
    bench.wait(0.1)
    bench.die()

    assert (told, before, bench.handle.done_to_it) == (["dismiss"], ["dismiss"], ["dismiss", "kill"])
    assert [slot.takes_work for slot in bench.executors.slots] == [True]


def done(run: Run, outcome: Outcome) -> Done:
    """Of a task that takes long."""
    return Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=1)
