"""Signs of life between hosts: who must let go when, and who is proven silent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.failure_detector import FORGET_AFTER_S, FailureDetector, OtherHosts, margin_s
from jobyard.engine.hosts.host_lease import LET_GO, HostLease
from jobyard.engine.store.port import HostHeartbeat
from tests.support.builders import a_host_lease
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

LEASE_S = 30.0
FAR, FAR_WATCHER = "far:f00d:worker-7001:1", "far:f00d:watcher-9001:1"
OURS = "box:b00t:worker-7001:1"
LOOK_S = 2.5


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def sign(store: MemoryStore, boot: str = "f00d", tasks: bytes = b"{}") -> None:
    store.renew(HostHeartbeat(boot=boot, host="far", renewal=0, seen_at=START, tasks=tasks))


def observer(store: MemoryStore, world: FakeWorld) -> FailureDetector:
    return FailureDetector(
        hosts=store, is_ours=lambda owner: owner.startswith("box:"), world=world, lease_s=LEASE_S, look_s=LOOK_S
    )  # fmt: skip


def look_for(failure_detector: FailureDetector, world: FakeWorld, seconds: float) -> list[str]:
    """Look as often as a watcher does, for so long; what the last look proved."""
    proven: list[str] = []
    for _ in range(round(seconds / LOOK_S)):
        world.advance(LOOK_S)
        proven = failure_detector.proven([OURS, FAR, FAR_WATCHER])
    return proven


# ---- the hold


def test_the_only_host_can_never_lose_its_hold(world: FakeWorld) -> None:
    host_lease = a_host_lease(world)
    world.advance(1e6)

    assert not host_lease.is_lost
    assert host_lease.next_at() == host_lease.ends_at() == float("inf")


def test_a_sign_is_given_several_times_a_lease(world: FakeWorld, store: MemoryStore) -> None:
    host_lease = a_host_lease(world, hosts=store, lease_s=LEASE_S)
    for _ in range(300):
        world.advance(0.1)
        host_lease.renew()

    assert 10 <= store.hosts()[0].renewal <= 21
    assert not host_lease.is_lost


def test_a_hold_without_a_sign_is_lost_before_others_may_take_over(world: FakeWorld, store: MemoryStore) -> None:
    host_lease = a_host_lease(world, hosts=store, lease_s=LEASE_S)
    host_lease.renew()
    store.is_down = True
    world.advance(LET_GO * LEASE_S - 0.01)
    before = host_lease.is_lost
    world.advance(0.01)

    with pytest.raises(StoreUnavailable):
        host_lease.renew()

    assert (before, host_lease.is_lost) == (False, True)


def test_nothing_is_held_before_the_first_sign(world: FakeWorld, store: MemoryStore) -> None:
    host_lease = a_host_lease(world, hosts=store, lease_s=LEASE_S)
    before = host_lease.is_lost

    host_lease.renew()

    assert (before, host_lease.is_lost) == (True, False)


def test_a_sign_counts_from_when_it_was_sent(world: FakeWorld, store: MemoryStore) -> None:
    class Slow(MemoryStore):
        def renew(self, sign: HostHeartbeat) -> None:
            world.advance(5)

    host_lease = HostLease(
        hosts=Slow(), sign=lambda: HostHeartbeat(boot="b", host="h", renewal=0, seen_at=START), world=world, lease_s=LEASE_S
    )
    sent_at = world.monotonic()
    host_lease.renew()

    assert host_lease.ends_at() == sent_at + LET_GO * LEASE_S


def test_a_sign_that_could_not_be_given_is_tried_again_soon(world: FakeWorld, store: MemoryStore) -> None:
    host_lease = a_host_lease(world, hosts=store, lease_s=LEASE_S)
    store.is_down = True
    with pytest.raises(StoreUnavailable):
        host_lease.renew()
    store.is_down = False

    host_lease.renew()
    too_soon = store.hosts()
    world.advance(0.5)
    host_lease.renew()

    assert (too_soon, len(store.hosts())) == ([], 1)


# ---- silence


def test_a_host_that_gives_signs_is_never_proven_silent(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    for _ in range(20):
        sign(store)
        assert look_for(failure_detector, world, LEASE_S) == []


def test_a_host_is_proven_silent_after_the_lease_and_a_margin(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    sign(store)
    failure_detector.proven([FAR])
    bound_s = LEASE_S + margin_s(LEASE_S)

    before = look_for(failure_detector, world, bound_s - LOOK_S)
    after = look_for(failure_detector, world, 2 * LOOK_S)

    assert (before, after) == ([], [FAR, FAR_WATCHER])


def test_a_host_with_a_longer_lease_is_waited_for_by_its_own(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    store.renew(HostHeartbeat(boot="f00d", host="far", renewal=0, seen_at=START, lease_s=10 * LEASE_S))

    early = look_for(failure_detector, world, 10 * LEASE_S)
    late = look_for(failure_detector, world, 2 * LEASE_S)

    assert (early, late) == ([], [FAR, FAR_WATCHER])


def test_our_own_are_none_of_its_business(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)

    assert OURS not in look_for(failure_detector, world, 10 * LEASE_S)


def test_a_host_that_never_gave_a_sign_is_watched_like_any_other(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)

    assert look_for(failure_detector, world, LEASE_S) == []
    assert look_for(failure_detector, world, LEASE_S) == [FAR, FAR_WATCHER]


def test_several_hosts_without_a_sign_are_watched_at_once_whomever_is_asked_for(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    other = "old:01d0:worker-7001:1"
    for _ in range(round(2 * LEASE_S / LOOK_S)):
        world.advance(LOOK_S)
        failure_detector.proven([FAR, other])
        failure_detector.proven([OURS])

    assert failure_detector.proven([FAR]) == [FAR]
    assert failure_detector.proven([other]) == [other]


def test_a_host_that_comes_back_is_no_longer_silent(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    look_for(failure_detector, world, 2 * LEASE_S)

    sign(store)

    assert failure_detector.proven([FAR]) == []


def test_an_observer_that_was_paused_starts_its_watch_anew(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    failure_detector.proven([FAR])
    world.advance(10 * LEASE_S)

    assert failure_detector.proven([FAR]) == []
    assert look_for(failure_detector, world, 2 * LEASE_S) == [FAR, FAR_WATCHER]


def test_clock_steps_prove_nothing(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    failure_detector.proven([FAR])
    world.step_wall_clock(10 * 365 * 86400)

    assert failure_detector.proven([FAR]) == []


def test_a_slow_look_counts_from_its_end_and_to_its_beginning(world: FakeWorld) -> None:
    class Slow(MemoryStore):
        def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
            world.advance(LEASE_S)
            return super().hosts(confirmed=confirmed)

    slow = Slow()
    failure_detector = observer(slow, world)
    failure_detector.proven([FAR])

    assert failure_detector.proven([FAR]) == []


def test_what_a_deposed_primary_says_proves_nothing(world: FakeWorld) -> None:
    class Deposed(MemoryStore):
        """Answers with what it knew before it lost the other servers, unless it must be sure."""

        old: list[HostHeartbeat] | None = None

        def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
            return super().hosts() if confirmed or self.old is None else self.old

    store = Deposed()
    sign(store)
    failure_detector = observer(store, world)
    store.old = store.hosts()
    proven: list[str] = []
    for _ in range(round(10 * LEASE_S / LOOK_S)):
        sign(store)
        proven += look_for(failure_detector, world, LOOK_S)

    assert proven == []
    store.old = None
    assert look_for(failure_detector, world, 10 * LEASE_S) == [FAR, FAR_WATCHER]


def test_signs_of_hosts_long_gone_that_hold_nothing_are_removed(world: FakeWorld, store: MemoryStore) -> None:
    failure_detector = observer(store, world)
    sign(store, "f00d")
    sign(store, "01d0")
    for _ in range(round(FORGET_AFTER_S / LOOK_S) + 2):
        world.advance(LOOK_S)
        failure_detector.forget_hosts([FAR])

    assert [seen.boot for seen in store.hosts()] == ["f00d"]


def test_old_signs_are_removed_by_an_observer_that_lives_for_minutes_only(world: FakeWorld, store: MemoryStore) -> None:
    for boot, seen_at in (("01d0", START - timedelta(days=2)), ("yo0ng", START)):
        store.renew(HostHeartbeat(boot=boot, host="far", renewal=0, seen_at=seen_at))
    failure_detector = observer(store, world)
    failure_detector.forget_hosts([])
    at_once = len(store.hosts())
    for _ in range(round(2 * LEASE_S / LOOK_S)):
        world.advance(LOOK_S)
        failure_detector.forget_hosts([])

    assert (at_once, [seen.boot for seen in store.hosts()]) == (2, ["yo0ng"])


def test_tasks_of_other_hosts_are_known_and_remembered_through_an_outage(world: FakeWorld, store: MemoryStore) -> None:
    sign(store, tasks=b'{"resize": {"max_retries": 2, "timeout_s": null}}')
    other_hosts = OtherHosts(store, world)

    first = other_hosts.tasks()
    store.is_down = True
    world.advance(10)

    assert first["resize"].max_retries == 2
    assert "resize" in other_hosts.tasks()


def test_a_host_alone_knows_of_no_tasks_elsewhere(world: FakeWorld) -> None:
    assert OtherHosts(None, world).tasks() == {}
