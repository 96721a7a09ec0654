"""How due jobs are distributed over the requests of HTTP workers."""

from __future__ import annotations

from jobyard.engine.leases.allocation import CLAIM_BYTES, MOST_A_CLAIM, LeaseAllocation
from jobyard.engine.store.port import Candidate

PLAIN, RISKY = Candidate(task="t", lost_count=0), Candidate(task="t", lost_count=4)


def an_allocation(*askings: tuple[str, str, int], holding: tuple[str, ...] = ()) -> LeaseAllocation[str]:
    return LeaseAllocation(askings, last_chance=4, runs_lost_job=lambda owner, least: owner in holding)


def test_jobs_go_to_the_requests_in_turn_and_each_request_gets_its_own() -> None:
    allocation = an_allocation(("first", "http/a", 2), ("second", "http/b", 1), ("third", "http/a", 1))

    assert allocation.most == 4
    assert [allocation.place(PLAIN) for _ in range(4)] == ["http/a", "http/a", "http/b", "http/a"]
    assert (allocation.most, allocation.place(PLAIN)) == (0, None)
    assert [allocation.asked_for("http/a") for _ in range(3)] == ["first", "first", "third"]
    assert allocation.asked_for("http/b") == "second"


def test_of_jobs_that_may_kill_their_workers_each_worker_gets_one() -> None:
    allocation = an_allocation(("first", "http/a", 9), ("second", "http/b", 9), ("third", "http/c", 9), holding=("http/b",))

    assert [allocation.place(RISKY) for _ in range(3)] == ["http/a", "http/c", None]
    assert allocation.place(PLAIN) == "http/a"


def test_a_claim_ends_after_so_many_jobs_or_bytes() -> None:
    many, large = an_allocation(*[("x", "http/a", 100)] * 6), an_allocation(("x", "http/a", 9))

    for _ in range(MOST_A_CLAIM):
        many.place(PLAIN)
    large.place(Candidate(task="t", lost_count=0, size=CLAIM_BYTES))

    assert (many.most, many.is_batch_full, large.most, large.is_batch_full) == (0, True, 0, True)
