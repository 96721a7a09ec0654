"""Which due job begins at which worker: in claiming order, by what is left of the granted places."""

from __future__ import annotations

import pytest

from jobyard.engine.store.port import Candidate
from jobyard.engine.watcher.places import CLAIM_BYTES, MOST_A_CLAIM, ClaimAllocation, Places
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from tests.support.builders import a_job

LAST_CHANCE = 4
SHORT = {"short": 1, "page": 8}


class Bench:
    """What is granted, and which workers run a job on its last chance."""

    def __init__(self, *offers: Offer, costs: dict[str, int] | None = None) -> None:
        self.at_risk: set[str] = set()
        self.places = Places(last_chance=LAST_CHANCE, runs_lost_job=lambda worker, n: worker in self.at_risk and n == LAST_CHANCE)
        self.places.grant(offers, costs or {})

    def placed(self, *tasks: str) -> list[str | None]:
        return place_all(self.places.allocation(), *tasks)


def place_all(allocation: ClaimAllocation, *tasks: str, lost_count: int = 0) -> list[str | None]:
    return [allocation.place(Candidate(task=task, lost_count=lost_count)) for task in tasks]


def slots(owner: str, count: int, ahead: int = 0) -> Offer:
    return Offer(owner=owner, free=count * SLOT_UNITS, ahead=ahead)


# ---- long and short


def test_long_jobs_go_to_the_worker_with_the_most_room() -> None:
    bench = Bench(slots("a", 1), slots("b", 3))

    assert bench.placed("long", "long", "long", "long") == ["b", "b", "a", "b"]


def test_a_task_that_nobody_knows_takes_a_whole_slot() -> None:
    bench = Bench(slots("a", 1), costs=SHORT)

    assert bench.placed("new", "short") == ["a", None]


def test_short_jobs_fill_one_worker_before_the_next() -> None:
    bench = Bench(slots("a", 1), slots("b", 1), costs=SHORT)

    assert bench.placed(*["page"] * 6) == ["a"] * 4 + ["b"] * 2


def test_when_no_slot_is_free_short_jobs_wait_at_the_worker_with_the_most_room_ahead() -> None:
    bench = Bench(slots("a", 0, ahead=8), slots("b", 0, ahead=24), costs=SHORT)

    assert bench.placed(*["page"] * 5) == ["b", "b", "b", "a", None]


def test_short_jobs_that_wait_go_to_the_workers_in_turn_a_run_of_neighbours_each() -> None:
    bench = Bench(slots("a", 0, ahead=96), slots("b", 0, ahead=96), costs=SHORT)

    assert bench.placed(*["page"] * 14) == ["a"] * 5 + ["b"] * 9


def test_a_long_job_never_waits_at_a_worker() -> None:
    bench = Bench(slots("a", 0, ahead=64), costs=SHORT)

    assert bench.placed("long") == [None]


def test_parts_of_two_slots_are_no_place_for_a_long_job() -> None:
    bench = Bench(Offer(owner="a", free=20), Offer(owner="b", free=20), costs=SHORT)

    assert bench.placed("long") == [None]


# ---- the end of a claim


def test_the_first_job_that_fits_nowhere_ends_the_claim_so_that_nothing_overtakes_it() -> None:
    bench = Bench(Offer(owner="a", free=20), costs=SHORT)
    allocation = bench.places.allocation()

    place_all(allocation, "short", "long")

    assert (allocation.most, allocation.lacking, allocation.has_skipped) == (0, SLOT_UNITS, False)


def test_without_any_place_nothing_can_be_placed() -> None:
    assert Bench().places.allocation().most == 0


def test_as_many_as_the_cheapest_jobs_need_can_be_placed_at_most() -> None:
    assert Bench(slots("a", 2, ahead=32)).places.allocation().most == 2
    assert Bench(slots("a", 2, ahead=32), costs={"page": 8}).places.allocation().most == 12
    assert Bench(slots("a", 100), costs=SHORT).places.allocation().most == MOST_A_CLAIM


def test_a_claim_ends_when_it_is_as_large_as_one_may_be() -> None:
    allocation = Bench(slots("a", 100), costs=SHORT).places.allocation()

    place_all(allocation, *["short"] * MOST_A_CLAIM)

    assert (allocation.is_batch_full, allocation.most, allocation.lacking) == (True, 0, 0)


def test_a_claim_ends_with_the_payload_that_exceeds_a_message() -> None:
    allocation = Bench(slots("a", 9)).places.allocation()

    allocation.place(Candidate(task="long", lost_count=0, size=CLAIM_BYTES - 1))
    before = allocation.is_batch_full
    allocation.place(Candidate(task="long", lost_count=0, size=1))

    assert (before, allocation.is_batch_full, allocation.most) == (False, True, 0)


# ---- jobs that may kill their worker


def test_a_job_on_its_last_chance_is_skipped_where_every_worker_runs_one() -> None:
    bench = Bench(slots("a", 2))
    bench.at_risk.add("a")
    allocation = bench.places.allocation()

    assert place_all(allocation, "long", lost_count=LAST_CHANCE) == [None]
    assert (allocation.has_skipped, allocation.most) == (True, 2)
    assert place_all(allocation, "long", lost_count=LAST_CHANCE - 1) == ["a"]


def test_one_claim_brings_no_two_of_them_to_one_worker() -> None:
    bench = Bench(slots("a", 3), slots("b", 3))

    assert place_all(bench.places.allocation(), *["long"] * 3, lost_count=LAST_CHANCE) == ["a", "b", None]


def test_one_of_them_goes_where_there_is_none_though_there_is_less_room() -> None:
    bench = Bench(slots("a", 3), slots("b", 1))
    bench.at_risk.add("a")

    assert place_all(bench.places.allocation(), "long", lost_count=LAST_CHANCE + 1) == ["b"]


# ---- what is left


def test_only_what_was_really_claimed_is_used_up() -> None:
    bench = Bench(slots("a", 2))
    bench.placed("long", "long")

    units = bench.places.use("a", [a_job(task="long")])

    assert (units, bench.places.allocation().most) == (SLOT_UNITS, 1)


def test_what_exceeds_the_free_slots_is_taken_from_what_is_ahead() -> None:
    bench = Bench(slots("a", 1, ahead=32), costs=SHORT)

    bench.places.use("a", [a_job(task="page")] * 5)

    assert bench.places.allocation().most == 24


def test_what_begins_at_a_worker_without_places_has_units_all_the_same() -> None:
    bench = Bench(costs=SHORT)

    assert bench.places.use("gone", [a_job(task="page"), a_job(task="new")]) == 8 + SLOT_UNITS


def test_grants_add_up_and_costs_are_remembered() -> None:
    bench = Bench(slots("a", 1), costs={"page": 8})

    bench.places.grant([slots("a", 1), slots("b", 1)], {"short": 1})

    assert (bench.places.cost("page"), bench.places.cost("short"), bench.places.allocation().most) == (8, 1, 96)


def test_what_is_withdrawn_or_forgotten_is_no_place_any_more() -> None:
    bench = Bench(slots("a", 1), slots("b", 1))

    bench.places.withdraw("a")
    bench.places.withdraw("unknown")
    after_one = bench.placed("long", "long")
    bench.places.clear()

    assert (after_one, bench.placed("long")) == (["b", None], [None])


@pytest.mark.parametrize(("used", "is_low"), [(0, False), (2, False), (3, True), (4, True)])
def test_places_are_low_when_less_than_half_is_left(used: int, is_low: bool) -> None:
    bench = Bench(slots("a", 4))

    bench.places.use("a", [a_job(task="long")] * used)

    assert bench.places.is_low is is_low
