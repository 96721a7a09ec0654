"""The queue's role: what watchers and workers say to it and hear from it, on a store in memory and without sockets."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from jobyard.engine.config import read_settings
from jobyard.engine.control.snapshot import stats_of
from jobyard.engine.jobs.job import Job, Status, ticket_for
from jobyard.engine.queue.queue import LOOK_S, Queue
from jobyard.engine.store.port import ANYTHING, Served
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import GetItems, Json, Ping, Refused, Wake
from jobyard.engine.wire.queue_messages import (
    Ack,
    Delivery,
    Extend,
    Leased,
    Push,
    Release,
    Reserve,
    Room,
    Undelivered,
    Want,
    WatcherGone,
    Withdrawn,
)
from tests.support.builders import a_job, a_log
from tests.support.claims import WATCHER, WORKER
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.world import START, FakeWorld

LEASE_S = 30
GONE = "box:b00t:worker-7009:1"


class Bench:
    """A queue with one worker of two slots and one watcher, who have said nothing yet."""

    def __init__(self, *jobs: Job) -> None:
        self.world = FakeWorld()
        self.store = MemoryStore()
        self.store.insert([jobs])
        self.served = ANYTHING
        self.queue = Queue(
            owner="box:b00t:queue-6000:1", settings=read_settings({"LEASE_S": str(LEASE_S)}), world=self.world, store=self.store,
            network=FakeNetwork(), log=a_log(), served=lambda: self.served,
        )  # fmt: skip
        self.worker, self.watcher = FakePeer("worker"), FakePeer("watcher")

    def tick(self, *envelopes: Envelope) -> float:
        return self.queue.tick(list(envelopes))

    def connect(self) -> None:
        """The worker offers two slots, the watcher takes them."""
        self.tick(self.worker.says(offers(2)), self.watcher.says(Reserve(owner=WATCHER)))
        self.watcher.take()

    def push(self, *jobs: Job, owner: str = WORKER, is_again: bool = False) -> None:
        self.tick(self.watcher.says(Push(deliveries=[delivery(*jobs, owner=owner)], is_again=is_again)))

    def stats(self) -> dict[str, object]:
        return stats_of(self.queue.counters(), self.world.monotonic())

    def ask(self, question: Message) -> Message:
        peer = FakePeer()
        self.tick(peer.says(question))
        (answer,) = peer.received
        return answer

    def items(self, limit: int = 100) -> dict[str, object]:
        answer = self.ask(GetItems(limit=limit))
        assert isinstance(answer, Json)
        shown: dict[str, object] = msgspec.json.decode(answer.body)
        return shown


def offers(slots: int) -> Want:
    return Want(owner=WORKER, limit=slots * SLOT_UNITS, short_limit=slots * SLOT_UNITS)


def running(**fields: object) -> Job:
    return a_job(status=Status.RUNNING, **fields)


def encoded(*jobs: Job) -> bytes:
    return msgspec.msgpack.encode(jobs)


def delivery(*jobs: Job, owner: str = WORKER) -> Delivery:
    tickets = [ticket_for(job) for job in jobs]
    return Delivery(owner=owner, units=SLOT_UNITS * len(jobs), tickets=tickets, jobs=msgspec.Raw(encoded(*jobs)))


def received(worker: FakePeer) -> list[tuple[bytes, int, bool]]:
    """Jobs, units, whether they may have come before."""
    return [(bytes(leased.jobs), leased.units, leased.is_again) for leased in worker.take(Leased) if isinstance(leased, Leased)]


def key(job: Job) -> tuple[str, int]:
    return job.job_id, job.epoch


# ---- places


def test_what_a_worker_offers_is_granted_to_a_watcher() -> None:
    bench = Bench()

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER)))
    before = bench.watcher.take()
    bench.tick(bench.worker.says(Want(owner=WORKER, limit=64, short_limit=64, costs={"echo": 1})))

    assert before == []
    assert bench.watcher.take() == [Room(granted=[Offer(owner=WORKER, free=64)], pushes=0, costs={"echo": 1})]


def test_who_needs_more_gives_back_what_it_has_and_gets_everything() -> None:
    bench, other = Bench(), FakePeer()
    bench.tick(other.says(Reserve(owner="box:b00t:watcher-9002:1")))
    bench.connect()

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER, least=SLOT_UNITS, is_return=True)))

    assert bench.watcher.take(Room) == [Room(granted=[Offer(owner=WORKER, free=32)], pushes=0, returned=1)]


def test_what_is_on_its_way_to_a_watcher_that_has_nothing_is_not_granted_again() -> None:
    bench = Bench()
    bench.connect()

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER, least=SLOT_UNITS)))

    assert bench.watcher.take(Room) == []


def test_who_leaves_is_answered_at_once_and_its_places_are_the_others() -> None:
    bench, other = Bench(), FakePeer()
    bench.connect()
    bench.tick(other.says(Reserve(owner="box:b00t:watcher-9002:1", least=SLOT_UNITS)))

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER, is_last=True)))

    assert bench.watcher.take(Room) == [Room(granted=[], pushes=0)]
    assert other.take(Room) == [Room(granted=[Offer(owner=WORKER, free=64)], pushes=0)]


def test_a_watcher_that_never_asked_for_anything_may_leave() -> None:
    bench = Bench()

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER, is_last=True)))

    assert bench.watcher.take() == [Room(granted=[], pushes=0)]


def test_what_a_leaving_watcher_pushes_again_is_confirmed() -> None:
    bench = Bench()
    bench.tick(bench.worker.says(offers(2)))
    last = Reserve(owner=WATCHER, is_last=True)
    push = Push(deliveries=[delivery(running())], is_again=True)

    bench.tick(bench.watcher.says(last), bench.watcher.says(push), bench.watcher.says(last))

    assert bench.watcher.take(Room)[-1] == Room(granted=[], pushes=1)


def test_a_watcher_that_sleeps_on_its_places_is_woken_for_another_that_has_none() -> None:
    bench, other = Bench(), FakePeer()
    bench.connect()

    bench.tick(other.says(Reserve(owner="box:b00t:watcher-9002:1", least=SLOT_UNITS)))

    assert bench.watcher.take() == [Wake(due_at=START)]
    assert other.take() == []


def test_the_places_of_a_worker_that_takes_nothing_more_are_withdrawn() -> None:
    bench = Bench()
    bench.connect()

    bench.tick(bench.worker.says(Want(owner=WORKER, is_closed=True)))

    assert bench.watcher.take() == [Withdrawn(owner=WORKER)]


def test_after_a_worker_was_told_that_it_has_closed_nothing_new_is_sent_to_it() -> None:
    bench, new, again = Bench(), running(), running()
    bench.connect()
    bench.tick(bench.worker.says(Want(owner=WORKER, is_closed=True)))
    told = bench.worker.take()

    bench.push(new)
    bench.push(again, is_again=True)

    assert told == [Withdrawn(owner=WORKER)]
    assert bench.watcher.take(Undelivered) == [Undelivered(leases=[key(new)])]
    assert received(bench.worker) == [(encoded(again), SLOT_UNITS, True)]


def test_the_places_of_a_worker_that_is_gone_are_withdrawn() -> None:
    bench = Bench()
    bench.connect()

    bench.tick(bench.worker.hangs_up())

    assert bench.watcher.take() == [Withdrawn(owner=WORKER)]


# ---- jobs on their way


def test_what_is_pushed_is_passed_on_and_leased() -> None:
    bench, job = Bench(), running()
    bench.connect()

    bench.push(job)

    assert received(bench.worker) == [(encoded(job), SLOT_UNITS, False)]
    stats = bench.stats()
    assert (stats["jobs_pushed"], stats["jobs_popped"], stats["leased"], stats["size"]) == (1, 1, 1, 1)


def test_one_push_serves_several_workers() -> None:
    bench, other, first, second = Bench(), FakePeer(), running(), running()
    bench.connect()
    bench.tick(other.says(Want(owner=GONE, limit=32, short_limit=32)))

    bench.tick(bench.watcher.says(Push(deliveries=[delivery(first), delivery(second, owner=GONE)])))

    assert received(bench.worker) == [(encoded(first), SLOT_UNITS, False)]
    assert received(other) == [(encoded(second), SLOT_UNITS, False)]


def test_every_push_is_confirmed_with_the_next_room() -> None:
    bench = Bench()
    bench.connect()
    bench.push(running())
    bench.push(running())

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER)), bench.worker.says(offers(3)))

    assert bench.watcher.take() == [Room(granted=[Offer(owner=WORKER, free=32)], pushes=2)]


def test_what_a_worker_that_is_gone_should_have_had_is_undelivered() -> None:
    bench, job = Bench(), running()
    bench.connect()

    bench.push(job, owner=GONE)

    assert bench.watcher.take(Undelivered) == [Undelivered(leases=[key(job)])]
    assert (bench.stats()["leased"], bench.stats()["jobs_popped"]) == (0, 0)


def test_what_a_worker_cannot_be_sent_any_more_is_undelivered() -> None:
    bench, job = Bench(), running()
    bench.connect()
    bench.worker.close()

    bench.push(job)

    assert bench.watcher.take(Undelivered) == [Undelivered(leases=[key(job)])]


def test_what_is_pushed_again_is_passed_on_as_such() -> None:
    bench, job = Bench(), running()
    bench.connect()

    bench.push(job, is_again=True)

    assert received(bench.worker) == [(encoded(job), SLOT_UNITS, True)]


def test_what_is_pushed_again_may_have_arrived_before_so_it_is_never_undelivered() -> None:
    bench = Bench()
    bench.connect()

    bench.push(running(), owner=GONE, is_again=True)

    assert bench.watcher.take(Undelivered) == []


def test_workers_are_told_that_a_watcher_is_gone_after_all_that_it_pushed() -> None:
    bench, job = Bench(), running()
    bench.connect()

    bench.tick(bench.watcher.says(Push(deliveries=[delivery(job)])), bench.watcher.hangs_up())

    assert [type(message) for message in bench.worker.received] == [Leased, WatcherGone]
    assert bench.worker.take(WatcherGone) == [WatcherGone(owner=WATCHER)]


# ---- leases


def test_what_is_acked_is_over_and_its_slot_is_free_again() -> None:
    bench, job = Bench(), running()
    bench.connect()
    bench.push(job)

    bench.tick(
        bench.watcher.says(Reserve(owner=WATCHER)), bench.worker.says(Ack(leases=[key(job)], limit=96, short_limit=96))
    )  # fmt: skip

    assert (bench.stats()["jobs_acked"], bench.stats()["leased"]) == (1, 0)
    assert bench.watcher.take(Room) == [Room(granted=[Offer(owner=WORKER, free=32)], pushes=1)]


def test_an_ack_without_room_changes_no_room() -> None:
    bench, job = Bench(), running()
    bench.connect()
    bench.push(job)

    bench.tick(bench.watcher.says(Reserve(owner=WATCHER)), bench.worker.says(Ack(leases=[key(job)])))

    assert bench.stats()["jobs_acked"] == 1
    assert bench.watcher.take(Room) == []


def test_an_ack_of_an_old_epoch_is_not_counted() -> None:
    bench, job = Bench(), running(epoch=4)
    bench.connect()
    bench.push(job)

    bench.tick(bench.worker.says(Ack(leases=[(job.job_id, 2)])))

    assert (bench.stats()["jobs_acked"], bench.stats()["leased"]) == (0, 1)


def test_what_is_released_is_over() -> None:
    bench, job = Bench(), running()
    bench.connect()
    bench.push(job)

    bench.tick(bench.worker.says(Release(leases=[key(job)])))

    assert (bench.stats()["jobs_released"], bench.stats()["leased"]) == (1, 0)


def test_the_leases_of_a_worker_that_is_gone_are_recovered_at_once() -> None:
    bench = Bench()
    bench.connect()
    bench.push(running(), running())

    bench.tick(bench.worker.hangs_up())

    assert (bench.stats()["jobs_recovered"], bench.stats()["leased"]) == (2, 0)


def test_a_lease_that_runs_out_is_recovered_and_one_that_is_extended_is_not() -> None:
    bench, kept, lost = Bench(), running(), running()
    bench.connect()
    bench.push(kept, lost)
    bench.world.advance(20)
    bench.tick(bench.worker.says(Extend(leases=[key(kept)])))

    bench.world.advance(10.1)
    bench.tick()

    assert (bench.stats()["jobs_recovered"], bench.stats()["leased"]) == (1, 1)


def test_it_looks_every_second_while_anything_happens_and_sleeps_when_nothing_does() -> None:
    bench, job = Bench(), running()
    idle_s = bench.tick()
    bench.connect()
    bench.push(job)
    busy_s = bench.tick()
    bench.world.advance(LOOK_S)

    bench.tick(bench.worker.says(Ack(leases=[key(job)])))

    assert (idle_s, busy_s, bench.tick()) == (LEASE_S, LOOK_S, LEASE_S)


# ---- what waits in the store


def test_what_is_due_is_listed_after_what_is_leased_in_claiming_order() -> None:
    low, high = a_job(priority=1), a_job(priority=9)
    bench, leased = Bench(low, high, a_job(scheduled_at=START + timedelta(seconds=1))), running(queue="mail")
    bench.connect()
    bench.push(leased)

    shown = bench.items()

    assert (shown["size"], shown["ready"], shown["leased"]) == (3, 2, 1)
    assert shown["items"] == [
        {
            "job_id": leased.job_id, "task": "echo", "queue": "mail", "priority": 5, "state": "leased", "leased_by": "worker-7001",
            "lease_expires_at": "2026-01-04T02:04:50.123Z", "attempt": 1,
        },
        *(
            {
                "job_id": job.job_id, "task": "echo", "queue": "default", "priority": job.priority, "state": "ready",
                "leased_by": None, "lease_expires_at": None, "attempt": 0,
            }
            for job in (high, low)
        ),
    ]  # fmt: skip


def test_no_more_is_listed_than_was_asked_for() -> None:
    bench = Bench(a_job(), a_job())
    bench.connect()
    bench.push(running(), running(), running())

    shown = [bench.items(limit)["items"] for limit in (1, 4)]

    assert [[item["state"] for item in items] for items in shown] == [["leased"], ["leased"] * 3 + ["ready"]]  # type: ignore[attr-defined]


def test_without_a_database_nothing_is_listed_and_the_last_count_stands() -> None:
    bench = Bench(a_job(priority=3))
    bench.items()
    bench.store.is_down = True
    bench.connect()
    bench.push(running())
    bench.world.advance(LOOK_S)
    bench.tick()

    answer = bench.ask(GetItems())

    assert isinstance(answer, Refused) and (answer.code, answer.retry_after_s) == ("database_unavailable", 1)
    assert (bench.stats()["ready"], bench.stats()["leased"]) == (1, 1)
    assert bench.queue.counters().depth == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_what_waits_is_counted_again_while_watchers_know_of_due_jobs() -> None:
    bench = Bench()
    bench.tick(bench.watcher.says(Reserve(owner=WATCHER, least=SLOT_UNITS)))
    bench.store.insert([[a_job(priority=7), a_job(priority=7)]])

    bench.world.advance(LOOK_S)
    bench.tick()

    assert bench.queue.counters().depth[7] == 2


def test_only_what_this_host_serves_is_listed_and_counted() -> None:
    bench = Bench(a_job(task="echo"), a_job(task="elsewhere"))
    bench.served = Served(tasks=("echo",))

    shown = bench.items()

    assert (shown["ready"], [item["task"] for item in shown["items"]]) == (1, ["echo"])  # type: ignore[attr-defined]


# ---- questions, and the end


def test_stats_say_what_the_contract_says() -> None:
    bench = Bench()
    bench.connect()
    bench.push(running())
    bench.world.advance(0.5)

    assert bench.stats() == {
        "queue_id": "queue-6000", "size": 1, "ready": 0, "leased": 1, "jobs_pushed": 1, "jobs_popped": 1, "jobs_acked": 0,
        "jobs_released": 0, "jobs_recovered": 0, "last_push_time": "2026-01-04T02:04:20.123Z",
        "last_pop_time": "2026-01-04T02:04:20.123Z", "uptime_s": 0.5,
    }  # fmt: skip


def test_it_is_well() -> None:
    assert Bench().ask(Ping()) == Json(body=b'{"status":"healthy"}')


def test_a_drain_is_over_at_once_because_nothing_is_kept_here() -> None:
    bench = Bench()
    bench.connect()
    bench.push(running())

    bench.queue.drain()

    assert bench.queue.drained
