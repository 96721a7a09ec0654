"""Places at workers: each is granted to one watcher at a time, whatever crosses on the way."""

from __future__ import annotations

import random

from jobyard.engine.queue.grants import Grants, Units
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from tests.support.network import FakePeer

ALL = SLOT_UNITS


class Bench:
    """The grants with some workers and watchers, by their names."""

    def __init__(self, **slots: int) -> None:
        """`slots`: the free slots of each worker."""
        self.grants = Grants()
        self.peers: dict[str, FakePeer] = {}
        for name, count in slots.items():
            self.offer(name, count * SLOT_UNITS)

    def peer(self, name: str) -> FakePeer:
        return self.peers.setdefault(name, FakePeer(name))

    def offer(self, name: str, limit: int, ahead: int = 0, **costs: int) -> None:
        """The worker accepts so much since its connection was made."""
        self.grants.offer(self.peer(name), owner=name, limit=limit, short_limit=limit + ahead, costs=costs)

    def want(self, name: str, least: int = ALL) -> None:
        """As the queue does it: a watcher that knows of a due job returns its places first."""
        if least:
            self.grants.give_back(self.peer(name))
        self.grants.reserve(self.peer(name), owner=name, least=least)

    def use(self, watcher: str, worker: str, units: int) -> None:
        found = self.grants.worker(worker)
        assert found is not None
        self.grants.use(self.peer(watcher), found[1], units)

    def granted(self) -> dict[str, list[tuple[str, int, int]]]:
        """By watcher: worker, free units, units ahead."""
        return {watcher.owner: [told(offer) for offer in offers] for _, watcher, offers in self.grants.match()}

    def get(self, watcher: str, least: int = ALL) -> list[tuple[str, int, int]]:
        self.want(watcher, least)
        return self.granted().get(watcher, [])

    def woken(self) -> list[str]:
        names = {id(peer): name for name, peer in self.peers.items()}
        return [names[id(peer)] for peer in self.grants.holders_to_wake()]


def told(offer: Offer) -> tuple[str, int, int]:
    return offer.owner, offer.free, offer.ahead


# ---- everything, or a share


def test_a_watcher_that_knows_of_a_due_job_gets_everything_that_is_free() -> None:
    bench = Bench(a=2, b=1)

    assert bench.get("first") == [("a", 64, 0), ("b", 32, 0)]


def test_a_watcher_that_only_prepares_gets_a_share_of_each_workers_free_slots() -> None:
    bench = Bench(a=5, b=2)
    for name in ("first", "second", "third"):
        bench.want(name, least=0)

    granted = bench.granted()

    assert granted["first"] == [("a", 64, 0), ("b", 32, 0)]
    assert granted["second"] == [("a", 32, 0), ("b", 32, 0)]
    assert granted["third"] == [("a", 32, 0)]


def test_a_share_has_whole_slots_and_nothing_ahead() -> None:
    bench = Bench()
    bench.offer("a", SLOT_UNITS + 20, ahead=64, echo=1)

    assert bench.get("first", least=0) == [("a", 32, 0)]


def test_who_knows_of_a_due_job_comes_before_who_prepares_and_the_longest_waiting_first() -> None:
    bench = Bench()
    bench.want("prepares", least=0)
    bench.want("first")
    bench.want("second")

    bench.offer("a", SLOT_UNITS)
    one = bench.granted()
    bench.offer("b", SLOT_UNITS)
    two = bench.granted()

    assert (one, two) == ({"first": [("a", 32, 0)]}, {"second": [("b", 32, 0)]})


def test_who_asks_for_room_that_is_not_there_gets_it_when_it_is() -> None:
    bench = Bench()
    assert bench.get("first") == []

    bench.offer("a", SLOT_UNITS)

    assert bench.granted() == {"first": [("a", 32, 0)]}
    assert bench.granted() == {}


def test_parts_of_slots_are_granted_only_to_who_has_use_for_them() -> None:
    bench = Bench()
    bench.offer("a", 20, echo=1)

    assert bench.get("long", least=SLOT_UNITS) == []
    assert bench.get("short", least=1) == [("a", 20, 0)]


def test_room_ahead_is_for_short_jobs_only() -> None:
    bench = Bench()
    bench.offer("a", 0, ahead=64, echo=1)

    assert bench.get("long", least=SLOT_UNITS) == []
    assert bench.get("short", least=1) == [("a", 0, 64)]


# ---- a place is granted once


def test_what_one_watcher_has_is_not_granted_to_another() -> None:
    bench = Bench(a=2)

    assert bench.get("first") == [("a", 64, 0)]
    assert bench.get("second") == []


def test_what_was_begun_is_used_up_until_the_worker_accepts_more() -> None:
    bench = Bench(a=1)
    bench.get("first")
    bench.use("first", "a", SLOT_UNITS)

    nothing = bench.get("first")
    bench.offer("a", 2 * SLOT_UNITS)

    assert (nothing, bench.granted()) == ([], {"first": [("a", 32, 0)]})


def test_a_limit_that_crosses_a_push_counts_nothing_twice() -> None:
    bench = Bench(a=2)
    bench.get("first")

    bench.use("first", "a", SLOT_UNITS)
    bench.offer("a", 2 * SLOT_UNITS)  # said before the push arrived: nothing has become free

    assert bench.get("second") == []
    bench.offer("a", 3 * SLOT_UNITS)  # now one has ended
    assert bench.granted() == {"second": [("a", 32, 0)]}


def test_a_push_uses_free_slots_before_what_is_ahead() -> None:
    bench = Bench()
    bench.offer("a", SLOT_UNITS, ahead=SLOT_UNITS, echo=1)
    bench.get("first", least=1)
    bench.use("first", "a", SLOT_UNITS + 8)

    assert bench.get("first", least=1) == [("a", 0, 24)]


def test_parts_of_slots_that_were_granted_go_back_and_are_joined() -> None:
    bench = Bench(a=1)
    bench.get("first", least=1)
    bench.use("first", "a", 20)
    bench.offer("a", SLOT_UNITS + 20)  # these ended

    bench.want("first", least=SLOT_UNITS)

    assert bench.granted() == {"first": [("a", 32, 0)]}


def test_whatever_happens_no_place_is_granted_twice() -> None:
    for seed in range(40):
        chance = random.Random(seed)
        bench = Bench()
        limits = {name: 0 for name in "abc"}
        held: dict[tuple[str, str], int] = {}
        sent = dict.fromkeys(limits, 0)
        for _ in range(200):
            worker, watcher = chance.choice("abc"), chance.choice(["v", "w", "x"])
            act = chance.choice(["offer", "want", "prepare", "use", "leave"])
            if act == "offer":
                limits[worker] = min(limits[worker] + chance.choice([1, 5, 32, 64]), sent[worker] + 128)
                bench.offer(worker, limits[worker])
            elif act in ("want", "prepare"):
                least = 0 if act == "prepare" else chance.choice([1, 4, 32])
                held |= dict.fromkeys([pair for pair in held if pair[0] == watcher and least], 0)
                bench.want(watcher, least)
            elif act == "use" and held.get((watcher, worker)):
                units = chance.randint(1, held[watcher, worker])
                held[watcher, worker] -= units
                sent[worker] += units
                bench.use(watcher, worker, units)
            elif act == "leave":
                held |= dict.fromkeys([pair for pair in held if pair[0] == watcher], 0)
                bench.grants.remove_watcher(bench.peer(watcher))
            for name, offers in bench.granted().items():
                for owner, free, _ in offers:
                    held[name, owner] = held.get((name, owner), 0) + free
            for name in limits:
                assert sent[name] + sum(units for (_, at), units in held.items() if at == name) <= limits[name], seed


# ---- those that come and go


def test_the_places_of_a_worker_that_closes_are_void_and_their_watchers_are_named() -> None:
    bench = Bench(a=1, b=1)
    bench.get("first")
    bench.want("second")
    bench.granted()

    concerned = bench.grants.close(bench.peer("a"))

    assert concerned == [bench.peer("first")]
    assert bench.get("third") == []


def test_a_worker_that_opens_again_counts_on_from_what_it_was_sent() -> None:
    bench = Bench(a=2)
    bench.get("first")
    bench.use("first", "a", SLOT_UNITS)
    bench.grants.close(bench.peer("a"))

    bench.offer("a", 2 * SLOT_UNITS)

    assert bench.get("second") == [("a", 32, 0)]


def test_a_push_that_crosses_the_close_of_its_worker_is_counted() -> None:
    bench = Bench(a=2)
    bench.get("first")
    bench.grants.close(bench.peer("a"))
    bench.use("first", "a", SLOT_UNITS)

    bench.offer("a", 2 * SLOT_UNITS)

    assert bench.get("second") == [("a", 32, 0)]


def test_a_worker_that_connects_anew_is_counted_from_the_start() -> None:
    bench = Bench(a=1)
    bench.get("first")
    bench.use("first", "a", SLOT_UNITS)

    bench.grants.remove_worker(bench.peers.pop("a"))
    gone = bench.grants.worker("a")
    bench.offer("a", SLOT_UNITS)

    assert (gone, bench.get("second")) == (None, [("a", 32, 0)])


def test_the_places_of_a_watcher_that_is_gone_are_the_others() -> None:
    bench = Bench(a=1)
    bench.get("first")
    bench.want("second")

    owner = bench.grants.remove_watcher(bench.peer("first"))

    assert (owner, bench.granted()) == ("first", {"second": [("a", 32, 0)]})


def test_the_end_of_somebody_elses_connection_concerns_nobody() -> None:
    bench = Bench(a=1)

    assert bench.grants.remove_watcher(FakePeer()) is None
    assert bench.grants.remove_worker(FakePeer()) == []


# ---- watchers that hold places which they do not use


def test_holders_are_woken_once_for_a_due_job_that_finds_nothing_free() -> None:
    bench = Bench(a=1)
    bench.get("holder", least=0)
    bench.want("needy")
    bench.granted()

    assert (bench.woken(), bench.woken()) == (["holder"], [])
    bench.want("needy")
    assert bench.woken() == ["holder"]


def test_who_holds_only_places_ahead_is_woken_for_a_short_job_and_for_no_other() -> None:
    bench = Bench()
    bench.offer("a", SLOT_UNITS, ahead=SLOT_UNITS)
    bench.get("holder")
    bench.use("holder", "a", SLOT_UNITS)
    bench.want("needy")
    bench.granted()
    for_a_long_job = bench.woken()

    bench.want("needy", least=1)

    assert (for_a_long_job, bench.woken()) == ([], ["holder"])


def test_nobody_is_woken_for_who_only_prepares() -> None:
    bench = Bench(a=1)
    bench.get("holder", least=0)
    bench.want("other", least=0)
    bench.granted()

    assert bench.woken() == []


def test_who_has_used_its_places_is_not_woken() -> None:
    bench = Bench(a=1)
    bench.get("holder")
    bench.use("holder", "a", SLOT_UNITS)
    bench.want("needy")
    bench.granted()

    assert bench.woken() == []


# ---- costs


def test_a_watcher_is_told_all_costs_first_and_then_those_that_change() -> None:
    bench = Bench()
    bench.offer("a", 0, echo=1)
    bench.want("first")
    watcher = bench.grants.watchers[bench.peer("first")]
    at_first, watcher.costs = watcher.costs, {}

    bench.offer("a", 0, page=4)

    assert (at_first, watcher.costs) == ({"echo": 1}, {"page": 4})


def test_units_are_taken_from_free_slots_first() -> None:
    units = Units(10, 5)

    assert (units.part(4), units.part(12), units.part(99)) == (Units(4, 0), Units(10, 2), Units(10, 5))
