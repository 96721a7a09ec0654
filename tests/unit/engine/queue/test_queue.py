"""The queue's role: what watchers and workers say to it and hear from it, on a store in memory and without sockets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.control.snapshot import stats_of
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status, Ticket, ticket_for
from jobyard.engine.logs import Log
from jobyard.engine.queue.backlog import CAPACITY
from jobyard.engine.queue.queue import LEAST_GRANT, ON_ITS_WAY, Queue
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import (
    Ack,
    CancelAsked,
    Extend,
    GetItems,
    Json,
    Leased,
    Ping,
    Push,
    Pushed,
    Refused,
    Release,
    Reserve,
    Room,
    Want,
)
from tests.support.builders import a_job, a_ticket
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.world import START, FakeWorld

WATCHER = "box:b00t:watcher-9001:1"
MUCH = [500] * 10


class Bench:
    """A queue with everything around it."""

    def __init__(self, *jobs: Job, store: MemoryStore | None = None) -> None:
        self.world = FakeWorld()
        self.log_fd = os.memfd_create("log")
        self.store = store or MemoryStore()
        self.store.insert([jobs])
        self.queue = self.a_new_queue()

    def a_new_queue(self) -> Queue:
        return Queue(
            owner="box:b00t:queue-6000:1", settings=read_settings({"LEASE_S": "30"}), world=self.world, store=self.store,
            network=FakeNetwork(), log=Log(self.world, fd=self.log_fd), is_ours=lambda owner: owner.startswith("box:"),
        )  # fmt: skip

    def tick(self, *envelopes: Envelope) -> float:
        return self.queue.tick(list(envelopes))

    def logged(self) -> str:
        return os.pread(self.log_fd, 1 << 20, 0).decode()

    def job(self, ticket: Ticket) -> Job:
        job = self.store.find([ticket.job_id])[0]
        assert job is not None
        return job

    def stats(self) -> dict[str, object]:
        self.tick()
        return stats_of(self.queue.counters(), self.world.monotonic())

    def ask(self, question: GetItems | Ping) -> dict[str, object]:
        peer = FakePeer()
        self.tick(peer.says(question))
        (answer,) = peer.received
        assert isinstance(answer, Json)
        shown: dict[str, object] = msgspec.json.decode(answer.body)
        return shown


def queued(**fields: object) -> Job:
    return a_job(status=Status.QUEUED, **fields)


def leased(peer: FakePeer) -> list[Ticket]:
    return [ticket for message in peer.take(Leased) if isinstance(message, Leased) for ticket in message.tickets]


def wants(worker: FakePeer, count: int) -> Envelope:
    return worker.says(Want(count=count, worker="worker-7001"))


def pushes(*tickets: Ticket) -> Envelope:
    return FakePeer().says(Push(tickets=list(tickets)))


def lease(ticket: Ticket) -> tuple[str, int]:
    return ticket.job_id, ticket.epoch


def granted(peer: FakePeer) -> list[list[int]]:
    return [message.granted for message in peer.take(Room) if isinstance(message, Room)]


# ---- watchers


def test_what_is_pushed_is_taken_and_said_so() -> None:
    bench, watcher = Bench(), FakePeer()
    tickets = [a_ticket(), a_ticket()]

    bench.tick(watcher.says(Push(tickets=tickets)), watcher.says(Push(tickets=[*tickets, a_ticket()])))

    assert watcher.take(Pushed) == [Pushed(taken=2, known=0), Pushed(taken=1, known=2)]
    assert (bench.stats()["size"], bench.stats()["jobs_pushed"]) == (3, 3)


def test_room_is_granted_up_to_what_is_wished_for() -> None:
    bench, watcher = Bench(), FakePeer()

    bench.tick(watcher.says(Reserve(wanted=[7] * 10)))

    assert granted(watcher) == [[7] * 10]


def test_room_that_one_watcher_has_reserved_is_not_granted_again() -> None:
    bench, first, second = Bench(), FakePeer(), FakePeer()

    most, rest = CAPACITY - 2 * LEAST_GRANT, 2 * LEAST_GRANT
    bench.tick(first.says(Reserve(wanted=[most] * 10)), second.says(Reserve(wanted=MUCH)))

    assert granted(first) == [[most] * 10]
    assert granted(second) == [[rest] * 10]


def test_a_watcher_may_always_push_a_little_while_the_others_sleep_on_their_reservations() -> None:
    bench, watchers = Bench(), [FakePeer() for _ in range(8)]

    bench.tick(*(watcher.says(Reserve(wanted=MUCH)) for watcher in watchers))

    assert [granted(watcher)[-1][0] for watcher in watchers] == [500, 500, 500, 500, *[LEAST_GRANT] * 4]


def test_a_full_queue_grants_nothing_of_that_priority_and_all_of_the_others() -> None:
    bench, watcher = Bench(), FakePeer()
    bench.tick(pushes(*(a_ticket(priority=1) for _ in range(CAPACITY))))

    bench.tick(watcher.says(Reserve(wanted=MUCH)))

    assert granted(watcher) == [[500, 0, *[500] * 8]]


def test_room_that_opens_is_offered_once_it_is_worth_a_word() -> None:
    bench, watcher, worker = Bench(), FakePeer(), FakePeer()
    tickets = [a_ticket(priority=1) for _ in range(CAPACITY)]
    bench.tick(watcher.says(Push(tickets=tickets)), watcher.says(Reserve(wanted=MUCH)), wants(worker, CAPACITY))
    granted(watcher)

    bench.tick(worker.says(Ack(leases=[lease(ticket) for ticket in tickets[:249]])))
    too_little = granted(watcher)
    bench.tick(worker.says(Ack(leases=[lease(tickets[249])])))

    assert too_little == []
    assert granted(watcher) == [[500, 250, *[500] * 8]]


def test_a_watcher_that_has_nothing_gets_a_little_of_what_another_keeps_reserved() -> None:
    bench, first, second, worker = Bench(), FakePeer(), FakePeer(), FakePeer()
    tickets = [a_ticket(priority=1) for _ in range(CAPACITY)]
    bench.tick(pushes(*tickets), first.says(Reserve(wanted=[CAPACITY] * 10)), second.says(Reserve(wanted=MUCH)))
    bench.tick(wants(worker, CAPACITY))
    granted(second)

    bench.tick(worker.says(Ack(leases=[lease(ticket) for ticket in tickets])))

    assert granted(second) == [[LEAST_GRANT] * 10]


def test_a_push_uses_up_the_reservation_and_its_room_is_the_others() -> None:
    bench, first, second = Bench(), FakePeer(), FakePeer()
    bench.tick(first.says(Reserve(wanted=[CAPACITY] * 10)), second.says(Reserve(wanted=MUCH)))
    granted(second)

    bench.tick(first.says(Push(tickets=[a_ticket()])))

    assert granted(second) == [MUCH]


def test_the_room_of_a_watcher_that_is_gone_is_the_others() -> None:
    bench, first, second = Bench(), FakePeer(), FakePeer()
    bench.tick(first.says(Reserve(wanted=[CAPACITY] * 10)), second.says(Reserve(wanted=MUCH)))
    granted(second)

    bench.tick(first.hangs_up())

    assert granted(second) == [MUCH]


# ---- workers


def test_who_wants_gets_the_most_urgent_first_with_the_length_of_the_lease() -> None:
    bench, worker = Bench(), FakePeer()
    low, high = a_ticket(priority=1), a_ticket(priority=9)

    bench.tick(pushes(low, high), wants(worker, 2))

    assert worker.received == [Leased(tickets=[high, low], lease_s=30)]


def test_who_waits_gets_what_comes_later_until_it_has_what_it_wanted() -> None:
    bench, worker = Bench(), FakePeer()
    bench.tick(wants(worker, 2))

    for _ in range(3):
        bench.tick(pushes(a_ticket()))

    assert len(leased(worker)) == 2
    assert bench.stats()["ready"] == 1


def test_several_that_wait_share_evenly() -> None:
    bench, workers = Bench(), [FakePeer() for _ in range(3)]
    bench.tick(*(wants(worker, 10) for worker in workers))

    bench.tick(pushes(*(a_ticket() for _ in range(8))))

    assert sorted(len(leased(worker)) for worker in workers) == [2, 3, 3]


def test_who_got_something_goes_to_the_end_of_the_line() -> None:
    bench, workers = Bench(), [FakePeer() for _ in range(3)]
    bench.tick(*(wants(worker, 5) for worker in workers))

    for _ in range(4):
        bench.tick(pushes(a_ticket()))

    assert [len(leased(worker)) for worker in workers] == [2, 1, 1]


def test_a_few_for_those_that_want_many_go_to_one() -> None:
    bench, first, second = Bench(), FakePeer(), FakePeer()
    bench.tick(wants(first, 160), wants(second, 160))

    for _ in range(3):
        bench.tick(pushes(a_ticket(), a_ticket()))
    bench.tick(pushes(*(a_ticket() for _ in range(100))))

    assert (len(leased(first)), len(leased(second))) == (56, 50)


def test_one_that_says_nothing_more_is_not_given_one_job_after_the_other() -> None:
    bench, stopped, other = Bench(), FakePeer(), FakePeer()
    bench.tick(wants(stopped, 160), wants(other, 160))

    for _ in range(10):
        bench.tick(pushes(a_ticket()))
        bench.world.advance(0.06)
        bench.tick(other.says(Extend(leases=[])))

    assert (len(leased(stopped)), len(leased(other))) == (3, 7)


def test_a_later_wish_replaces_an_earlier_one_and_none_withdraws_it() -> None:
    bench, less, none = Bench(), FakePeer(), FakePeer()
    bench.tick(wants(less, 10), wants(none, 10))

    bench.tick(wants(less, 1), wants(none, 0))
    bench.tick(pushes(*(a_ticket() for _ in range(5))))

    assert (len(leased(less)), len(leased(none))) == (1, 0)


def test_what_is_acked_is_done_with_and_an_ack_of_an_old_epoch_is_not_counted() -> None:
    bench, worker, ticket = Bench(), FakePeer(), a_ticket(epoch=4)
    bench.tick(pushes(ticket), wants(worker, 1))

    bench.tick(worker.says(Ack(leases=[(ticket.job_id, 3)])))
    after_the_old = bench.stats()
    bench.tick(worker.says(Ack(leases=[lease(ticket)])))
    after_the_present = bench.stats()

    assert (after_the_old["jobs_acked"], after_the_old["leased"]) == (0, 1)
    assert (after_the_present["jobs_acked"], after_the_present["size"]) == (1, 0)


def test_a_lease_that_a_later_ticket_ends_counts_as_acked_once() -> None:
    bench, worker, ticket = Bench(), FakePeer(), a_ticket(epoch=4)
    bench.tick(pushes(ticket), wants(worker, 1))

    bench.tick(pushes(msgspec.structs.replace(ticket, epoch=6)))
    bench.tick(worker.says(Ack(leases=[lease(ticket)])))

    stats = bench.stats()
    assert (stats["jobs_popped"], stats["jobs_acked"], stats["ready"]) == (1, 1, 1)


def test_what_is_released_goes_to_whom_it_may_serve() -> None:
    bench, first, second, ticket = Bench(), FakePeer(), FakePeer(), a_ticket()
    bench.tick(pushes(ticket), wants(first, 1), wants(second, 1))

    bench.tick(first.says(Release(leases=[lease(ticket)])))

    assert leased(second) == [ticket]
    assert bench.stats()["jobs_released"] == 1


def test_the_leases_of_a_worker_that_is_gone_are_recovered_at_once() -> None:
    bench, first, second = Bench(), FakePeer(), FakePeer()
    tickets = [a_ticket(), a_ticket()]
    bench.tick(FakePeer().says(Push(tickets=tickets)), wants(first, 2))

    bench.tick(wants(second, 2), first.hangs_up())

    assert leased(second) == tickets
    assert bench.stats()["jobs_recovered"] == 2


def test_a_worker_that_is_gone_before_it_can_be_answered_loses_nothing() -> None:
    bench, gone, worker, ticket = Bench(), FakePeer(), FakePeer(), a_ticket()
    bench.tick(wants(gone, 1))
    gone.open = False

    bench.tick(pushes(ticket), wants(worker, 1))

    assert leased(worker) == [ticket]
    assert bench.stats()["jobs_popped"] == 1


def test_a_lease_that_runs_out_is_recovered_and_one_that_is_extended_is_not() -> None:
    bench, worker, other = Bench(), FakePeer(), FakePeer()
    kept, lost = a_ticket(), a_ticket()
    bench.tick(pushes(kept, lost), wants(worker, 2))
    bench.world.advance(20)
    bench.tick(worker.says(Extend(leases=[lease(kept)])))

    bench.world.advance(10.1)
    bench.tick(wants(other, 2))

    assert leased(other) == [lost]
    assert bench.stats()["jobs_recovered"] == 1


def test_it_looks_every_second_for_leases_that_run_out_and_sleeps_while_there_are_none() -> None:
    bench, worker = Bench(), FakePeer()
    idle_s = bench.tick()

    busy_s = bench.tick(pushes(a_ticket()), wants(worker, 1))

    assert (idle_s, busy_s) == (30, 1)


def test_a_cancelled_job_is_not_handed_out_any_more() -> None:
    bench, worker, ticket = Bench(), FakePeer(), a_ticket()
    bench.tick(pushes(ticket))

    bench.tick(Envelope(None, CancelAsked(job_id=ticket.job_id, epoch=ticket.epoch + 1)), wants(worker, 1))

    assert leased(worker) == []
    assert bench.stats()["size"] == 0


def test_a_hint_of_a_cancellation_that_comes_after_the_job_was_queued_again_changes_nothing() -> None:
    bench, worker, ticket = Bench(), FakePeer(), a_ticket(epoch=4)  # claimed 1, cancelled 2, retried 3, claimed 4

    bench.tick(pushes(ticket), Envelope(None, CancelAsked(job_id=ticket.job_id, epoch=2)), wants(worker, 1))

    assert leased(worker) == [ticket]


# ---- start and end


def test_a_new_queue_loads_what_an_earlier_one_held_and_nothing_else() -> None:
    jobs = [queued(), a_job(), a_job(status=Status.RUNNING), queued(claimed_by="other-host:x:watcher-9001:1"), queued(priority=9)]
    bench, worker = Bench(*jobs), FakePeer()

    bench.tick(wants(worker, 10))

    assert leased(worker) == [ticket_for(jobs[4]), ticket_for(jobs[0])]


def test_more_jobs_than_a_page_are_loaded() -> None:
    bench = Bench(*(queued() for _ in range(1201)))

    assert bench.stats()["size"] == 1201


class Thrifty(MemoryStore):
    """Gives nobody a payload."""

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        assert not whole
        return super().find(job_ids, whole=whole)

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        raise AssertionError("tickets are enough")


def test_no_payload_is_read_by_a_queue_from_its_start_to_its_end() -> None:
    jobs = [queued(payload=b'"large"') for _ in range(3)]
    bench = Bench(*jobs, store=Thrifty())

    bench.tick()
    bench.queue.drain()
    bench.tick()

    assert bench.queue.drained
    assert bench.store.counts()[Status.PENDING] == 3


def test_nothing_is_granted_and_it_is_not_well_before_it_could_load() -> None:
    bench, watcher, asking = Bench(queued()), FakePeer(), FakePeer()
    bench.store.is_down = True

    sleep_s = bench.tick(watcher.says(Reserve(wanted=MUCH)), asking.says(Ping()))

    assert (granted(watcher), sleep_s) == ([[0] * 10], 1.0)
    (answer,) = asking.received
    assert isinstance(answer, Refused) and answer.code == "database_unavailable"


def test_once_it_could_load_it_grants_what_was_wished_for_and_is_well() -> None:
    bench, watcher = Bench(queued()), FakePeer()
    bench.store.is_down = True
    bench.tick(watcher.says(Reserve(wanted=MUCH)))
    granted(watcher)
    bench.store.is_down = False
    bench.world.advance(1)

    assert bench.ask(Ping()) == {"status": "healthy"}
    assert granted(watcher) == [MUCH]
    assert bench.stats()["size"] == 1


def test_a_database_that_is_away_for_long_is_told_once() -> None:
    bench = Bench()
    for _ in range(2):
        bench.store.is_down = True
        for _ in range(100):
            bench.world.advance(1)
            bench.tick()
        bench.store.is_down = False
        bench.world.advance(1)
        bench.tick()
        bench.world.advance(31)

    assert bench.logged().count("queue_reload_postponed") == 2


def test_what_was_lost_on_the_way_is_found_after_a_lease() -> None:
    bench = Bench()
    bench.tick()
    bench.store.insert([[queued()]])
    before = bench.stats()["size"]

    bench.world.advance(30)

    assert (before, bench.stats()["size"]) == (0, 1)


def test_what_a_watcher_has_just_queued_and_pushes_now_is_left_to_it() -> None:
    bench = Bench()
    bench.tick()
    bench.world.advance(30)
    just_now = bench.world.now() - ON_ITS_WAY + timedelta(seconds=1)
    bench.store.insert([[queued(queued_at=just_now), queued(queued_at=bench.world.now() - ON_ITS_WAY)]])

    assert bench.stats()["size"] == 1


def test_what_is_here_already_is_not_loaded_twice() -> None:
    job = queued()
    bench = Bench(job)
    bench.tick(pushes(ticket_for(job)))

    bench.world.advance(30)
    bench.tick()

    assert bench.stats()["size"] == 1


def test_a_drain_hands_everything_back_to_the_store_and_grants_nothing() -> None:
    jobs = [queued(), queued()]
    bench, watcher, worker = Bench(*jobs), FakePeer(), FakePeer()
    bench.tick(wants(worker, 1))
    begun = lifecycle.begin(jobs[0], owner="box:b00t:worker-7001:1", now=START, lease_s=30)
    bench.store.apply([begun])

    bench.queue.drain()
    bench.tick(watcher.says(Reserve(wanted=MUCH)), wants(worker, 1))

    assert bench.queue.drained
    assert [bench.job(ticket_for(job)).status for job in jobs] == [Status.RUNNING, Status.PENDING]
    assert len(leased(worker)) == 1
    assert granted(watcher) == [[0] * 10]


def test_a_push_that_comes_with_the_drain_is_handed_back_too() -> None:
    bench = Bench()
    bench.tick()
    job = queued()
    bench.store.insert([[job]])

    bench.queue.drain()
    bench.tick(pushes(ticket_for(job)))

    assert bench.job(ticket_for(job)).status is Status.PENDING


def test_a_drain_without_a_database_ends_all_the_same() -> None:
    bench = Bench(queued())
    bench.tick()
    bench.store.is_down = True

    bench.queue.drain()
    bench.tick()

    assert bench.queue.drained


# ---- questions


def test_stats_say_what_the_contract_says() -> None:
    bench, worker = Bench(), FakePeer()
    bench.world.advance(2.5)
    bench.tick(pushes(a_ticket(), a_ticket()), wants(worker, 1))

    assert bench.stats() == {
        "queue_id": "queue-6000", "size": 2, "ready": 1, "leased": 1, "jobs_pushed": 2, "jobs_popped": 1, "jobs_acked": 0,
        "jobs_released": 0, "jobs_recovered": 0, "last_push_time": "2026-01-04T02:04:22.623Z",
        "last_pop_time": "2026-01-04T02:04:22.623Z", "uptime_s": 2.5,
    }  # fmt: skip


def test_items_stand_in_the_order_of_handing_out_with_who_has_them_until_when() -> None:
    bench, worker = Bench(), FakePeer()
    first, second, third = a_ticket(priority=9), a_ticket(attempt=2), a_ticket(scheduled_at=START + timedelta(seconds=1))
    bench.tick(pushes(third, second, first), wants(worker, 1))

    shown = bench.ask(GetItems(limit=2))

    assert (shown["size"], shown["ready"], shown["leased"]) == (3, 2, 1)
    assert shown["items"] == [
        {
            "job_id": first.job_id, "task": "echo", "queue": "default", "priority": 9, "state": "leased",
            "leased_by": "worker-7001", "lease_expires_at": "2026-01-04T02:04:50.123Z", "attempt": 0,
        },
        {
            "job_id": second.job_id, "task": "echo", "queue": "default", "priority": 5, "state": "ready", "leased_by": None,
            "lease_expires_at": None, "attempt": 2,
        },
    ]  # fmt: skip


@pytest.mark.parametrize("message", [Room(granted=[]), Refused(code="x", message="y"), Leased(tickets=[], lease_s=1)])
def test_what_is_no_word_to_a_queue_is_left_unanswered(message: Room | Refused | Leased) -> None:
    bench, peer = Bench(), FakePeer()

    bench.tick(peer.says(message), Envelope(None, Ping()))

    assert peer.received == []


# ---- other hosts


def test_what_another_host_holds_is_not_loaded() -> None:
    theirs = a_job(status=Status.QUEUED, claimed_by="far:f00d:watcher-9001:1")
    bench = Bench(theirs, a_job(status=Status.QUEUED))

    bench.tick()

    assert bench.queue._backlog.size == 1
