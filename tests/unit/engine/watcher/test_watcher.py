"""The watcher's role: what it claims and pushes, how long it sleeps, what it does without a queue or a database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.control.snapshot import stats_of
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status, Ticket, ticket_for
from jobyard.engine.store.port import ANYTHING, Feed, Served
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import (
    BATCH,
    DUE_SLACK_S,
    DUE_SPREAD_S,
    EXPIRY_SLACK_S,
    HAND_BACK_AFTER_S,
    RECONNECT_S,
    Watcher,
)
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import (
    Json,
    Message,
    OwnersDied,
    Ping,
    Push,
    Pushed,
    Ready,
    Refused,
    Reserve,
    Room,
    Wake,
)
from tests.support.builders import a_host_lease, a_job, a_log
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.world import START, FakeWorld

OWNER = "box:b00t:watcher-9001:1"
QUEUE = "queue-6000"
PLENTY = [500] * 10
POLL_S = 2.0


class DeadOwners:
    """Who is dead."""

    def __init__(self) -> None:
        self.dead: set[str] = set()

    def proven(self, owners: Iterable[str]) -> list[str]:
        return [owner for owner in owners if owner in self.dead]


class Bench:
    """A watcher with everything around it; the queue is there and has not answered yet."""

    def __init__(
        self, *jobs: Job, with_queue: bool = True, store: MemoryStore | None = None, hosts: MemoryStore | None = None,
        feed: Feed | None = None, poll_s: float = POLL_S,
    ) -> None:  # fmt: skip
        self.world = FakeWorld()
        self.store = store or MemoryStore()
        self.network = FakeNetwork()
        self.deaths = DeadOwners()
        self.served = ANYTHING
        self.submit(*jobs)
        self.queue_names = [QUEUE]
        self.queue = FakePeer()
        if with_queue:
            self.queue = self.network.add(QUEUE)
        settings = read_settings({"POLL_S": str(poll_s)})
        self.watcher = Watcher(
            owner=OWNER, settings=settings, world=self.world, store=self.store, network=self.network, log=a_log(),
            recovery=Recovery(settings=settings, world=self.world, store=self.store, log=a_log(), deaths=self.deaths),
            retention=Retention(settings=settings, world=self.world, store=self.store, log=a_log()),
            host_lease=a_host_lease(self.world, hosts=hosts), served=lambda: self.served, queue_names=lambda: self.queue_names,
            feed=feed,
        )  # fmt: skip

    def submit(self, *jobs: Job) -> None:
        self.store.insert([jobs])

    def tick(self, *envelopes: Envelope) -> float:
        return self.watcher.tick(list(envelopes))

    def hear(self, *messages: Message) -> float:
        """The queue says these in one breath."""
        return self.tick(*(self.queue.says(message) for message in messages))

    def grant(self, granted: list[int] = PLENTY) -> float:
        """Connect, then hear of room."""
        self.tick()
        return self.hear(Room(granted=granted))

    def lose_queue(self) -> None:
        """Its connection ends and nobody listens any more."""
        del self.network.peers[QUEUE]
        self.tick(self.queue.hangs_up())

    def pushed(self) -> list[Ticket]:
        """What was pushed since the last look."""
        return [ticket for message in self.queue.take(Push) if isinstance(message, Push) for ticket in message.tickets]

    def statuses(self) -> list[Status]:
        return [job.status for job in self.store.all_jobs()]

    def ask(self, question: Ping) -> Message:
        peer = FakePeer()
        self.tick(peer.says(question))
        (answer,) = peer.received
        return answer

    def stats(self) -> dict[str, object]:
        return stats_of(self.watcher.counters(), self.world.monotonic())


def due_in(seconds: float, **fields: object) -> Job:
    return a_job(scheduled_at=START + timedelta(seconds=seconds), **fields)


# ---- claiming and pushing


def test_it_reserves_room_before_it_claims() -> None:
    bench = Bench(a_job())

    bench.tick()

    assert bench.queue.take() == [Reserve(wanted=[BATCH] * 10)]
    assert bench.statuses() == [Status.PENDING]


def test_what_is_due_is_queued_in_the_store_and_pushed_the_most_urgent_first() -> None:
    bench = Bench(a_job(priority=1), a_job(priority=9), due_in(60))

    bench.grant()

    tickets = bench.pushed()
    assert [ticket.priority for ticket in tickets] == [9, 1]
    assert bench.statuses() == [Status.QUEUED, Status.QUEUED, Status.PENDING]
    assert tickets == [ticket_for(bench.store.all_jobs()[1]), ticket_for(bench.store.all_jobs()[0])]
    assert {job.claimed_by for job in bench.store.all_jobs()[:2]} == {OWNER}


def test_no_more_is_claimed_than_there_is_room_for_at_each_priority() -> None:
    bench = Bench(*(a_job(priority=priority) for priority in (1, 1, 1, 5)))

    bench.grant([0, 2, *[0] * 8])

    assert [ticket.priority for ticket in bench.pushed()] == [1, 1]
    assert bench.store.counts()[Status.PENDING] == 2


def test_it_claims_nothing_more_until_the_queue_has_taken_the_last_push() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.pushed()
    bench.submit(a_job())

    bench.hear(Room(granted=PLENTY), Wake(due_at=START))
    before = bench.pushed()
    bench.hear(Pushed(taken=1, known=0))

    assert before == []
    assert len(bench.pushed()) == 1


def test_room_is_used_once_and_asked_for_again_with_each_push() -> None:
    bench = Bench(a_job(), a_job())
    bench.grant([0] * 5 + [1] + [0] * 4)

    bench.hear(Pushed(taken=1, known=0))

    assert len(bench.pushed()) == 1
    assert bench.queue.take(Reserve) == [Reserve(wanted=[BATCH] * 10)] * 2


def test_what_is_there_is_pushed_batch_after_batch_without_a_pause() -> None:
    bench = Bench(*(a_job() for _ in range(1200)))
    bench.grant()
    sizes = []
    while tickets := bench.pushed():
        sizes.append(len(tickets))
        bench.hear(Pushed(taken=len(tickets), known=0), Room(granted=PLENTY))

    assert sizes == [500, 500, 200]


def expiring_in(seconds: float, **fields: object) -> Job:
    expires_at = START + timedelta(seconds=seconds)
    return a_job(expires_s=seconds, expires_at=expires_at, lapses_at=expires_at, **fields)


def test_a_job_that_has_not_begun_in_time_is_cancelled_when_its_time_is_up() -> None:
    bench = Bench(expiring_in(0.5, status=Status.QUEUED), expiring_in(60, status=Status.BLOCKED), poll_s=2)
    sleep_s = bench.tick()

    bench.world.advance(0.5 + EXPIRY_SLACK_S)
    bench.tick()

    assert 0.5 <= sleep_s <= 0.5 + EXPIRY_SLACK_S
    assert bench.statuses() == [Status.CANCELLED, Status.BLOCKED]


def test_many_expired_jobs_are_cancelled_in_slices() -> None:
    bench = Bench(*(expiring_in(-1, status=Status.BLOCKED) for _ in range(1200)))
    commits = bench.store.commits

    bench.tick()

    assert bench.store.counts()[Status.CANCELLED] == 1200 and bench.store.commits - commits >= 3


def test_a_wake_makes_it_look_at_once() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(a_job())

    bench.tick(Envelope(None, Wake(due_at=START)))

    assert len(bench.pushed()) == 1


def test_without_a_wake_it_looks_with_the_next_poll() -> None:
    bench = Bench()
    sleep_s = bench.grant()
    bench.submit(a_job())
    bench.tick()
    before = bench.pushed()

    bench.world.advance(sleep_s)
    bench.tick()

    assert before == []
    assert len(bench.pushed()) == 1


def test_two_watchers_never_claim_the_same_job() -> None:
    one = Bench(a_job(), a_job())
    other = Bench(store=one.store)

    one.grant([0] * 5 + [1] + [0] * 4)
    other.grant()

    claimed = [ticket.job_id for ticket in one.pushed() + other.pushed()]
    assert sorted(claimed) == sorted(job.job_id for job in one.store.all_jobs())


# ---- sleeping


def test_it_sleeps_until_the_next_due_time_and_wakes_after_it_not_before() -> None:
    bench = Bench(due_in(0.7))

    sleep_s = bench.grant()

    assert 0.7 + DUE_SLACK_S <= sleep_s <= 0.7 + DUE_SLACK_S + DUE_SPREAD_S
    bench.world.advance(0.6)
    bench.tick()
    too_early = bench.pushed()
    bench.world.advance(sleep_s - 0.6)
    bench.tick()
    assert too_early == []
    assert len(bench.pushed()) == 1


def test_it_sleeps_no_longer_than_the_poll_with_its_jitter() -> None:
    bench = Bench(due_in(3600))

    sleeps = []
    bench.grant()
    for _ in range(50):
        sleep_s = bench.tick()
        sleeps.append(sleep_s)
        bench.world.advance(sleep_s)

    assert all(POLL_S <= sleep_s <= POLL_S * 1.25 for sleep_s in sleeps[1:])
    assert len(set(sleeps)) > 40
    assert bench.stats()["polls"] == 50


def test_a_due_job_there_is_no_room_for_does_not_keep_it_awake() -> None:
    bench = Bench(a_job(priority=1))

    sleep_s = bench.grant([500, 0, *[500] * 8])

    assert sleep_s >= POLL_S


def test_it_does_not_spin_while_a_push_is_under_way() -> None:
    bench = Bench(*(a_job() for _ in range(BATCH + 1)))

    sleep_s = bench.grant()

    assert sleep_s >= POLL_S


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0, -315_360_000.0, 315_360_000.0])
def test_a_step_of_the_wall_clock_neither_stops_nor_spins_it(step_s: float) -> None:
    bench = Bench(due_in(1))
    bench.grant()

    bench.world.step_wall_clock(step_s)

    assert 0 <= bench.tick() <= POLL_S * 1.25
    assert len(bench.pushed()) == (step_s > 0)


def test_what_is_retried_by_somebody_else_is_found_at_its_time() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(due_in(0.3))

    sleep_s = bench.tick(Envelope(None, Wake(due_at=START + timedelta(seconds=0.3))))

    assert 0.3 + DUE_SLACK_S <= sleep_s <= 0.3 + DUE_SLACK_S + DUE_SPREAD_S


# ---- without a queue


def test_without_a_queue_it_claims_nothing_and_tries_again_soon() -> None:
    bench = Bench(a_job(), with_queue=False)

    sleep_s = bench.tick()

    assert sleep_s == RECONNECT_S
    assert bench.statuses() == [Status.PENDING]


def test_a_queue_that_is_started_later_elsewhere_is_found_and_gets_what_the_last_one_did_not_take() -> None:
    bench = Bench(a_job())
    bench.grant()
    tickets = bench.pushed()
    bench.lose_queue()

    bench.queue = bench.network.add("queue-6001")
    bench.queue_names = [QUEUE, "queue-6001"]  # the first is only the name that it left
    bench.tick()

    assert bench.pushed() == tickets
    del bench.network.peers["queue-6001"]
    bench.tick(bench.queue.hangs_up())
    assert bench.ask(Ping()) == Refused(code="unavailable", message="queue-6001 does not answer", retry_after_s=1)


def test_what_was_not_taken_is_pushed_again_to_a_new_queue() -> None:
    bench = Bench(a_job())
    bench.grant()
    tickets = bench.pushed()
    bench.lose_queue()

    bench.queue = bench.network.add(QUEUE)
    bench.tick()

    assert bench.pushed() == tickets
    assert bench.queue.take(Reserve) == [Reserve(wanted=[BATCH] * 10)]


def test_what_was_taken_is_not_pushed_again() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.pushed()
    del bench.network.peers[QUEUE]
    bench.tick(bench.queue.says(Pushed(taken=1, known=0)), bench.queue.hangs_up())

    bench.queue = bench.network.add(QUEUE)
    bench.tick()

    assert bench.pushed() == []


def test_room_that_an_old_queue_granted_is_forgotten() -> None:
    bench = Bench()
    bench.grant()
    bench.lose_queue()
    bench.submit(a_job())
    bench.queue = bench.network.add(QUEUE)

    bench.tick(Envelope(None, Wake(due_at=START)))

    assert bench.pushed() == []


def test_claims_go_back_when_there_is_no_queue_for_three_seconds() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.lose_queue()
    bench.world.advance(HAND_BACK_AFTER_S - 0.1)
    bench.tick()
    before = bench.statuses()

    bench.world.advance(0.1)
    bench.tick()

    assert (before, bench.statuses()) == ([Status.QUEUED], [Status.PENDING])
    bench.queue = bench.network.add(QUEUE)
    bench.tick()
    assert bench.pushed() == []


def test_what_was_begun_meanwhile_is_not_handed_back() -> None:
    bench = Bench(a_job())
    bench.grant()
    job = bench.store.all_jobs()[0]
    bench.store.apply([lifecycle.begin(job, owner="box:b00t:worker-7001:1", now=START, lease_s=30)])

    bench.lose_queue()
    bench.world.advance(HAND_BACK_AFTER_S)
    bench.tick()

    assert bench.statuses() == [Status.RUNNING]


def test_the_end_of_another_connection_is_not_the_queues() -> None:
    bench = Bench()
    bench.grant()

    bench.tick(FakePeer().hangs_up())
    bench.submit(a_job())
    bench.tick(Envelope(None, Wake(due_at=START)))

    assert len(bench.pushed()) == 1


# ---- the dead


def test_jobs_of_the_dead_are_recovered_as_soon_as_it_is_told() -> None:
    dead = "box:b00t:worker-7001:1"
    bench = Bench(a_job(status=Status.RUNNING, locked_by=dead))
    bench.grant()

    bench.deaths.dead.add(dead)
    bench.tick(Envelope(None, OwnersDied(owners=[dead])))

    assert [ticket.attempt for ticket in bench.pushed()] == [1]
    assert bench.store.all_jobs()[0].lost_count == 1


def test_word_of_a_death_without_proof_changes_nothing() -> None:
    bench = Bench(a_job(status=Status.RUNNING))
    bench.grant()

    bench.tick(Envelope(None, OwnersDied(owners=["box:b00t:worker-7001:1"])))

    assert bench.statuses() == [Status.RUNNING]


def test_a_death_nobody_told_of_is_found_with_the_next_poll() -> None:
    dead = "box:b00t:watcher-9002:1"
    bench = Bench(a_job(status=Status.QUEUED, claimed_by=dead))
    sleep_s = bench.grant()
    bench.deaths.dead.add(dead)

    bench.world.advance(sleep_s)
    bench.tick()

    assert [ticket.epoch for ticket in bench.pushed()] == [3]


# ---- without a database


def test_without_a_database_it_waits_a_little_and_goes_on_with_it() -> None:
    bench = Bench(a_job())
    bench.tick()
    bench.store.is_down = True
    sleeps = [bench.hear(Room(granted=PLENTY)), *(bench.tick() for _ in range(20))]
    refused = bench.ask(Ping())

    bench.store.is_down = False
    bench.tick()

    assert all(0.5 <= sleep_s <= 1.0 for sleep_s in sleeps)
    assert isinstance(refused, Refused) and refused.code == "database_unavailable"
    assert len(bench.pushed()) == 1
    assert bench.ask(Ping()) == Json(body=b'{"status":"healthy"}')


def test_claims_that_cannot_be_handed_back_are_kept_until_they_can() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.lose_queue()
    bench.store.is_down = True
    bench.world.advance(HAND_BACK_AFTER_S)
    bench.tick()

    bench.store.is_down = False
    bench.tick()

    assert bench.statuses() == [Status.PENDING]


# ---- the end


def test_a_drain_waits_for_the_queue_to_take_the_last_push() -> None:
    bench = Bench(a_job())
    bench.grant()

    bench.watcher.drain()
    bench.tick()
    before = bench.watcher.drained
    bench.hear(Pushed(taken=1, known=0))

    assert (before, bench.watcher.drained) == (False, True)


def test_a_drain_claims_nothing_more() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(a_job())

    bench.watcher.drain()
    bench.hear(Room(granted=PLENTY), Wake(due_at=START))

    assert bench.watcher.drained
    assert bench.statuses() == [Status.PENDING]


def test_a_drain_without_a_queue_hands_back_at_once() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.lose_queue()

    bench.watcher.drain()
    bench.tick()

    assert bench.watcher.drained
    assert bench.statuses() == [Status.PENDING]


# ---- questions


def test_stats_say_what_the_contract_says() -> None:
    bench = Bench(a_job(), a_job())
    bench.grant()
    bench.world.advance(1)
    bench.hear(Pushed(taken=2, known=0))

    assert bench.stats() == {
        "watcher_id": "watcher-9001", "jobs_claimed": 2, "jobs_queued": 2, "claim_conflicts": 0, "polls": 1,
        "last_claim_time": "2026-01-04T02:04:20.123Z", "last_queued_time": "2026-01-04T02:04:21.123Z", "uptime_s": 1.0,
    }  # fmt: skip


def test_it_is_not_well_without_a_queue() -> None:
    bench = Bench(with_queue=False)
    bench.tick()

    answer = bench.ask(Ping())

    assert isinstance(answer, Refused)
    assert answer.message == "queue-6000 does not answer"


# ---- other hosts


def test_it_claims_only_what_its_host_serves() -> None:
    bench = Bench(a_job(task="mail"), a_job(task="echo", queue="eu"), a_job(task="echo"))
    bench.served = Served(tasks=("echo",), queues=("default",))

    bench.grant()

    assert len(bench.pushed()) == 1
    assert bench.statuses() == [Status.PENDING, Status.PENDING, Status.QUEUED]


def test_it_does_not_wake_for_what_others_serve() -> None:
    bench = Bench(due_in(0.1, task="mail"))
    bench.served = Served(tasks=("echo",))

    assert bench.grant() > 0.1


class Bell:
    """A feed that tests ring."""

    fd = 77

    def __init__(self) -> None:
        self.cleared = 0

    def clear(self) -> None:
        self.cleared += 1


def test_news_of_another_host_make_it_look_at_once() -> None:
    bell = Bell()
    bench = Bench(feed=bell)
    bench.grant()
    bench.submit(a_job())

    bench.tick(Envelope(None, Ready(fd=bell.fd)))

    assert (bell.fd in bench.network.watched, bell.cleared, len(bench.pushed())) == (True, 1, 1)


def test_a_watcher_whose_host_lost_its_hold_gives_a_sign_before_it_claims() -> None:
    hosts = MemoryStore()
    bench = Bench(hosts=hosts)
    bench.grant()
    hosts.is_down = True
    bench.world.advance(30)
    bench.submit(a_job())
    bench.tick()
    before = bench.statuses()
    hosts.is_down = False
    bench.world.advance(1)

    bench.tick()

    assert (before, bench.statuses()) == ([Status.PENDING], [Status.QUEUED])


def test_it_wakes_in_time_for_its_sign_of_life() -> None:
    bench = Bench(hosts=MemoryStore(), poll_s=60)

    assert bench.grant() <= 3
