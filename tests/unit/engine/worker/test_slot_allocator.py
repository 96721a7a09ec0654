"""Who is handed how many: the shortest jobs go a few to a slot, all others one to each."""

from __future__ import annotations

from collections import Counter
from typing import cast

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.worker.duration_estimates import DurationEstimates
from jobyard.engine.worker.slot import Attempt, Slot
from jobyard.engine.worker.slot_allocator import SlotAllocator
from tests.support.builders import a_job
from tests.support.executor_handles import FakeExecutorHandle


class FakeSlot:
    """Idle, and ready for anything."""

    takes_work = True
    runs = 0

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.handle = FakeExecutorHandle()

    def is_behind_long(self, now: float) -> bool:
        return False


def taken(task: str, count: int, *, elapsed_s: float | None, cores: int = 8) -> list[int]:
    """How many of so many jobs go to each of three idle slots, when the task has taken so long before."""
    durations = DurationEstimates()
    if elapsed_s is not None:
        durations.note(task, elapsed_s)
    allocator = SlotAllocator([cast(Slot, FakeSlot()) for _ in range(3)], durations, now=0.0, cores=cores)
    slots = Counter(id(share) for share in (allocator.take(task) for _ in range(count)) if share is not None)
    return sorted(slots.values(), reverse=True)


def test_a_few_of_the_shortest_jobs_go_to_one_slot_and_more_to_the_others() -> None:
    assert taken("echo", 3, elapsed_s=0.0001) == [3]
    assert taken("echo", 10, elapsed_s=0.0001) == [4, 4, 2]


def test_of_many_short_jobs_each_slot_gets_what_it_may_have_and_no_more() -> None:
    assert taken("echo", 200, elapsed_s=0.0001) == [32, 32, 32]


def test_the_shortest_jobs_get_as_many_slots_as_there_are_cores() -> None:
    assert taken("echo", 200, elapsed_s=0.0001, cores=2) == [32, 32]
    assert taken("page", 20, elapsed_s=0.002, cores=2) == [4, 4, 4]


def test_no_executor_is_forked_for_the_shortest_jobs_when_every_core_has_one() -> None:
    allocator = SlotAllocator([cast(Slot, FakeSlot())], short(), now=0.0, spare=2, cores=1)

    taken = [allocator.take("echo") for _ in range(33)]
    other = allocator.take("unknown")

    assert taken[31] is not None and taken[32] is None
    assert other is not None and other.slot is None


def test_slots_with_longer_jobs_do_not_count_as_those_of_the_shortest() -> None:
    durations = short()
    durations.note("video", 1.0)
    allocator = SlotAllocator([a_slot("video"), cast(Slot, FakeSlot())], durations, now=0.0, cores=1)

    taken = [allocator.take("echo") for _ in range(33)]

    assert taken[31] is not None and taken[32] is None


def test_jobs_of_a_few_milliseconds_are_spread() -> None:
    assert taken("page", 3, elapsed_s=0.002) == [1, 1, 1]
    assert taken("page", 20, elapsed_s=0.002) == [4, 4, 4]


def test_long_and_unknown_jobs_get_a_slot_each() -> None:
    assert taken("video", 5, elapsed_s=1.0) == [1, 1, 1]
    assert taken("new", 5, elapsed_s=None) == [1, 1, 1]


def test_an_executor_that_is_not_forked_yet_gets_one_job_and_only_when_the_others_have_their_fill() -> None:
    durations = DurationEstimates()
    durations.note("echo", 0.0001)
    allocator = SlotAllocator([cast(Slot, FakeSlot())], durations, now=0.0, spare=2, cores=8)

    taken = [allocator.take("echo") for _ in range(35)]

    assert [share is not None and share.slot is None for share in taken] == [False] * 32 + [True] * 2 + [False]
    assert taken[-1] is None


def short() -> DurationEstimates:
    durations = DurationEstimates()
    durations.note("echo", 0.0001)
    return durations


def a_slot(*tasks: str) -> Slot:
    slot = FakeSlot()
    slot.attempts = [Attempt(job=a_job(task=task)) for task in tasks]
    return cast(Slot, slot)


def room(*slots: Slot, unplaced: tuple[str, ...] = (), spare: int = 0) -> tuple[int, int]:
    """Free, and ahead."""
    return SlotAllocator(slots, short(), now=0.0, spare=spare).room(unplaced)


def test_idle_slots_and_those_that_may_be_forked_are_free_with_as_much_ahead() -> None:
    assert room(a_slot(), a_slot()) == (2 * SLOT_UNITS, 2 * SLOT_UNITS)
    assert room(a_slot(), spare=2) == (3 * SLOT_UNITS, 3 * SLOT_UNITS)
    assert room() == (0, 0)


def test_short_jobs_leave_the_rest_of_their_slot_free_and_a_long_one_nothing() -> None:
    assert room(a_slot("echo", "echo")) == (SLOT_UNITS - 2, SLOT_UNITS)
    assert room(a_slot("video")) == (0, SLOT_UNITS)


def test_what_waits_for_a_slot_takes_room_in_free_slots_first_and_then_ahead() -> None:
    assert room(a_slot(), unplaced=("echo",) * 3) == (SLOT_UNITS - 3, SLOT_UNITS)
    assert room(a_slot(), unplaced=("video", "echo")) == (0, SLOT_UNITS - 1)
    assert room(a_slot(), unplaced=("video",) * 9) == (0, 0)
