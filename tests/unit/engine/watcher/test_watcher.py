"""The watcher's role: what it claims and pushes, how long it sleeps, what it does without a queue or a database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.control.snapshot import stats_of
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.store.port import ANYTHING, Feed, Served
from jobyard.engine.watcher.places import MOST_A_CLAIM
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import DUE_SLACK_S, DUE_SPREAD_S, EXPIRY_SLACK_S, RECONNECT_S, SKIPPED_S, Watcher
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json, OwnersDied, Ping, Ready, Refused, Wake
from jobyard.engine.wire.queue_messages import Push, Reserve, Room, Undelivered, Withdrawn
from tests.support.builders import a_host_lease, a_job, a_log
from tests.support.claims import WORKER
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.world import START, FakeWorld

OWNER = "box:b00t:watcher-9001:1"
QUEUE = "queue-6000"
POLL_S = 2.0
DONE = Outcome(status=ExecutionStatus.SUCCESS)


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

    def grant(self, slots: int = 100, *, worker: str = WORKER, pushes: int = 0, **costs: int) -> float:
        """Connect, then hear of room."""
        self.tick()
        return self.hear(Room(granted=[Offer(owner=worker, free=slots * SLOT_UNITS)], pushes=pushes, costs=costs))

    def find_queue(self) -> None:
        """A new one listens."""
        self.queue = self.network.add(QUEUE)
        self.tick()

    def lose_queue(self) -> None:
        """Its connection ends and nobody listens any more."""
        del self.network.peers[QUEUE]
        self.tick(self.queue.hangs_up())

    def pushed(self) -> list[str]:
        """The jobs that were pushed since the last look."""
        pushes = [message for message in self.queue.take(Push) if isinstance(message, Push)]
        return [ticket.job_id for push in pushes for each in push.deliveries for ticket in each.tickets]

    def reserved(self) -> list[tuple[int, bool]]:
        """What was asked of the queue since the last look: for how large a job, and whether it was the last time."""
        return [(message.least, message.is_last) for message in self.queue.take(Reserve) if isinstance(message, Reserve)]

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


# ---- places


def test_it_asks_for_places_to_have_at_hand_before_anything_is_due() -> None:
    bench = Bench()

    bench.tick()
    bench.tick()

    assert bench.queue.take() == [Reserve(owner=OWNER)]


def test_without_places_it_claims_nothing_and_says_that_something_is_due() -> None:
    bench = Bench(a_job())

    sleep_s = bench.tick()

    assert bench.reserved() == [(0, False), (SLOT_UNITS, False)]
    assert bench.statuses() == [Status.PENDING]
    assert sleep_s >= POLL_S


def test_without_places_nothing_is_said_of_what_is_not_due_yet() -> None:
    bench = Bench(due_in(1))

    bench.tick()

    assert bench.reserved() == [(0, False)]


def test_what_is_due_begins_at_the_worker_that_has_room_and_is_pushed() -> None:
    bench = Bench(a_job())

    bench.grant()

    (job,) = bench.store.all_jobs()
    assert bench.pushed() == [job.job_id]
    assert (job.status, job.claimed_by, job.locked_by, job.attempt) == (Status.RUNNING, OWNER, WORKER, 1)
    assert [row.status for row in bench.store.executions(job.job_id)] == [ExecutionStatus.RUNNING]


def test_no_more_begins_than_there_are_places_and_the_rest_waits_in_the_store() -> None:
    bench = Bench(*(a_job() for _ in range(5)))
    bench.tick()
    bench.reserved()

    sleep_s = bench.grant(3)

    assert len(bench.pushed()) == 3
    assert bench.store.counts()[Status.PENDING] == 2
    assert bench.reserved() == [(SLOT_UNITS, False)]
    assert sleep_s >= POLL_S, "the queue wakes it"


def test_new_places_are_used_at_once_for_what_waits() -> None:
    bench = Bench(*(a_job() for _ in range(5)))
    bench.grant(3)
    bench.pushed()

    bench.grant(1, pushes=1)

    assert len(bench.pushed()) == 1


def test_a_long_job_for_which_there_are_only_parts_of_slots_asks_for_a_whole_one_and_is_not_overtaken() -> None:
    bench = Bench(a_job(task="long", priority=9), a_job(task="short"))
    bench.tick()
    bench.reserved()

    bench.hear(Room(granted=[Offer(owner=WORKER, free=20)], pushes=0, costs={"short": 1}))

    assert bench.reserved() == [(SLOT_UNITS, False)]
    assert bench.pushed() == []


def test_only_room_for_the_cheapest_job_is_asked_for_while_nothing_else_is_known() -> None:
    bench = Bench()
    bench.grant(0, short=1)
    bench.submit(a_job(task="short"))
    bench.reserved()

    bench.hear(Wake(due_at=START))

    assert bench.reserved() == [(1, False)]


def test_more_places_are_fetched_when_they_run_low() -> None:
    bench = Bench(*(a_job() for _ in range(3)))
    bench.tick()
    bench.reserved()

    bench.grant(5)

    assert bench.reserved() == [(0, False)]


def test_withdrawn_places_are_not_used() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(a_job())

    bench.hear(Withdrawn(owner=WORKER), Wake(due_at=START))

    assert bench.statuses() == [Status.PENDING]


def test_the_most_urgent_begin_first() -> None:
    low, high = a_job(priority=1), a_job(priority=9)
    bench = Bench(low, high)

    bench.grant(1)

    assert bench.pushed() == [high.job_id]


def test_more_than_fits_into_one_claim_is_claimed_at_once_in_several() -> None:
    bench = Bench(*(a_job(task="short") for _ in range(MOST_A_CLAIM + 10)))

    sleep_s = bench.grant(100, short=1)
    first = len(bench.pushed())
    bench.tick()

    assert (first, sleep_s, len(bench.pushed())) == (MOST_A_CLAIM, 0.0, 10)


# ---- sleep


def test_it_sleeps_until_the_next_job_is_due() -> None:
    bench = Bench(due_in(1))

    sleep_s = bench.grant()
    bench.world.advance(sleep_s)
    bench.tick()

    assert 1 + DUE_SLACK_S <= sleep_s <= 1 + DUE_SLACK_S + DUE_SPREAD_S
    assert len(bench.pushed()) == 1


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


def test_a_hint_makes_it_look_at_once() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(a_job())

    bench.tick(Envelope(None, Wake(due_at=START)))

    assert len(bench.pushed()) == 1


def test_what_no_hint_told_of_is_found_with_the_next_poll() -> None:
    bench = Bench()
    sleep_s = bench.grant()
    bench.submit(a_job())

    bench.world.advance(sleep_s)
    bench.tick()

    assert len(bench.pushed()) == 1


def test_an_idle_watcher_polls_seldom_and_never_in_step_with_others() -> None:
    bench = Bench()
    bench.grant()

    sleeps = []
    for _ in range(50):
        sleep_s = bench.tick()
        sleeps.append(sleep_s)
        bench.world.advance(sleep_s)

    assert all(POLL_S <= sleep_s <= POLL_S * 1.25 for sleep_s in sleeps[1:])
    assert len(set(sleeps)) > 40
    assert bench.stats()["polls"] == 50


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


def test_a_job_that_may_kill_its_worker_waits_until_no_other_such_runs_there_and_hides_nothing() -> None:
    risky, harmless = a_job(lost_count=4, priority=9), a_job()
    running = a_job(status=Status.RUNNING, locked_by=WORKER, lost_count=4)
    bench = Bench(running, risky, harmless)

    sleep_s = bench.grant()
    pushed = bench.pushed()
    bench.store.apply([lifecycle.settle(running, DONE, now=START, retry_base_s=1)])
    bench.world.advance(sleep_s)
    bench.tick()

    assert (pushed, bench.pushed()) == ([harmless.job_id], [risky.job_id])
    assert sleep_s == SKIPPED_S, "it neither spins nor waits for the next poll"


# ---- without a queue


def test_without_a_queue_it_claims_nothing_and_tries_again_soon() -> None:
    bench = Bench(a_job(), with_queue=False)

    sleep_s = bench.tick()

    assert sleep_s == RECONNECT_S
    assert bench.statuses() == [Status.PENDING]


def test_a_queue_that_is_started_later_elsewhere_is_found_and_gets_what_the_last_one_did_not_confirm() -> None:
    bench = Bench(a_job())
    bench.grant()
    job_ids = bench.pushed()
    bench.lose_queue()

    bench.queue = bench.network.add("queue-6001")
    bench.queue_names = [QUEUE, "queue-6001"]  # the first is only the name that it left
    bench.tick()

    assert bench.pushed() == job_ids
    del bench.network.peers["queue-6001"]
    bench.tick(bench.queue.hangs_up())
    assert bench.ask(Ping()) == Refused(code="unavailable", message="queue-6001 does not answer", retry_after_s=1)


def test_what_was_not_confirmed_is_pushed_again_and_marked_as_such() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.lose_queue()

    bench.find_queue()

    first, second = bench.queue.take()
    assert first == Reserve(owner=OWNER)
    assert isinstance(second, Push) and second.is_again


def test_what_was_confirmed_is_not_pushed_again() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.pushed()
    bench.grant(1, pushes=1)
    bench.lose_queue()

    bench.find_queue()

    assert bench.pushed() == []


def test_places_that_an_old_queue_granted_are_forgotten() -> None:
    bench = Bench()
    bench.grant()
    bench.lose_queue()
    bench.submit(a_job())

    bench.find_queue()
    bench.tick(Envelope(None, Wake(due_at=START)))

    assert bench.pushed() == []


def test_the_end_of_another_connection_is_not_the_queues() -> None:
    bench = Bench()
    bench.grant()

    bench.tick(FakePeer().hangs_up())
    bench.submit(a_job())
    bench.tick(Envelope(None, Wake(due_at=START)))

    assert len(bench.pushed()) == 1


def test_what_the_queue_cannot_deliver_is_returned_and_begins_elsewhere() -> None:
    bench = Bench(a_job())
    bench.grant(1)
    (job_id,) = bench.pushed()
    (job,) = bench.store.all_jobs()

    bench.hear(Withdrawn(owner=WORKER), Undelivered(leases=[(job_id, job.epoch)]))
    returned = bench.store.all_jobs()[0]
    bench.grant(1, worker="box:b00t:worker-7002:1", pushes=1)

    assert (returned.status, returned.attempt) == (Status.PENDING, 0)
    again = bench.store.all_jobs()[0]
    assert (bench.pushed(), again.locked_by, again.attempt) == ([job_id], "box:b00t:worker-7002:1", 1)


# ---- the dead


def test_jobs_of_the_dead_are_recovered_as_soon_as_it_is_told() -> None:
    dead = "box:b00t:worker-7009:1"
    job = a_job(status=Status.RUNNING, locked_by=dead)
    bench = Bench(job)
    bench.grant()

    bench.deaths.dead.add(dead)
    bench.tick(Envelope(None, OwnersDied(owners=[dead])))

    assert bench.pushed() == [job.job_id]
    assert (bench.store.all_jobs()[0].lost_count, bench.store.all_jobs()[0].attempt) == (1, 2)


def test_word_of_a_death_without_proof_changes_nothing() -> None:
    job = a_job(status=Status.RUNNING)
    bench = Bench(job)
    bench.grant()

    bench.tick(Envelope(None, OwnersDied(owners=["box:b00t:worker-7001:1"])))

    assert bench.store.all_jobs() == [job]


def test_a_death_nobody_told_of_is_found_with_the_next_poll() -> None:
    dead = "box:b00t:watcher-9002:1"
    bench = Bench(a_job(status=Status.QUEUED, claimed_by=dead))
    sleep_s = bench.grant()
    bench.deaths.dead.add(dead)

    bench.world.advance(sleep_s)
    bench.tick()

    assert len(bench.pushed()) == 1
    assert bench.store.all_jobs()[0].lost_count == 0


# ---- without a database


def test_without_a_database_it_waits_a_little_and_goes_on_with_it() -> None:
    bench = Bench(a_job())
    bench.tick()
    bench.store.is_down = True
    sleeps = [bench.grant(), *(bench.tick() for _ in range(20))]
    refused = bench.ask(Ping())

    bench.store.is_down = False
    bench.tick()

    assert all(0.5 <= sleep_s <= 1.0 for sleep_s in sleeps)
    assert isinstance(refused, Refused) and refused.code == "database_unavailable"
    assert len(bench.pushed()) == 1
    assert bench.ask(Ping()) == Json(body=b'{"status":"healthy"}')


def test_what_cannot_be_returned_is_kept_until_it_can() -> None:
    bench = Bench(a_job())
    bench.grant(1)
    (job,) = bench.store.all_jobs()
    bench.store.is_down = True
    bench.hear(Undelivered(leases=[(job.job_id, job.epoch)]))

    bench.store.is_down = False
    bench.tick()

    assert bench.statuses() == [Status.PENDING]


# ---- the end


def test_a_drain_returns_the_places_and_waits_until_the_last_push_is_confirmed() -> None:
    bench = Bench(a_job())
    bench.grant()
    bench.reserved()

    bench.watcher.drain()
    bench.tick()
    before = bench.watcher.drained
    bench.hear(Room(granted=[], pushes=1))

    assert bench.reserved() == [(0, True)]
    assert (before, bench.watcher.drained) == (False, True)


def test_a_drain_claims_nothing_more() -> None:
    bench = Bench()
    bench.grant()
    bench.submit(a_job())

    bench.watcher.drain()
    bench.hear(Room(granted=[Offer(owner=WORKER, free=SLOT_UNITS)], pushes=0), Wake(due_at=START))

    assert bench.watcher.drained
    assert bench.statuses() == [Status.PENDING]


def test_a_drain_after_the_queue_is_gone_pushes_to_the_next_one_first() -> None:
    bench = Bench(a_job())
    bench.grant()
    job_ids = bench.pushed()
    bench.lose_queue()
    bench.watcher.drain()
    bench.tick()
    before = bench.watcher.drained

    bench.find_queue()
    pushed = bench.pushed()
    bench.hear(Room(granted=[], pushes=1))

    assert (before, pushed, bench.watcher.drained) == (False, job_ids, True)


# ---- questions


def test_stats_say_what_the_contract_says() -> None:
    bench = Bench(a_job(), a_job())
    bench.grant()
    bench.world.advance(1)

    assert bench.stats() == {
        "watcher_id": "watcher-9001", "jobs_claimed": 2, "jobs_queued": 2, "claim_conflicts": 0, "polls": 1,
        "last_claim_time": "2026-01-04T02:04:20.123Z", "last_queued_time": "2026-01-04T02:04:20.123Z", "uptime_s": 1.0,
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
    assert bench.statuses() == [Status.PENDING, Status.PENDING, Status.RUNNING]


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

    assert (before, bench.statuses()) == ([Status.PENDING], [Status.RUNNING])


def test_it_wakes_in_time_for_its_sign_of_life() -> None:
    bench = Bench(hosts=MemoryStore(), poll_s=60)

    assert bench.grant() <= 3
