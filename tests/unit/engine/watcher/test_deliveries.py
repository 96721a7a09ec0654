"""Jobs on their way to their workers: nothing is forgotten before the queue says that it has passed them on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status, ticket_for
from jobyard.engine.watcher.deliveries import Deliveries
from jobyard.engine.watcher.places import CLAIM_BYTES
from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.wire.queue_messages import Push
from tests.support.builders import a_job
from tests.support.claims import WORKER, claim
from tests.support.memory_store import MemoryStore
from tests.support.network import FakePeer
from tests.support.world import START

OTHER_WORKER = "box:b00t:worker-7002:1"


def deliveries() -> Deliveries:
    return Deliveries(lambda worker, jobs: SLOT_UNITS * len(jobs))


def begun(store: MemoryStore, count: int = 1, *, worker: str = WORKER, **fields: object) -> list[Job]:
    store.insert([[a_job(**fields) for _ in range(count)]])
    return claim(store, worker=worker)


def pushes(queue: FakePeer) -> list[Push]:
    return [message for message in queue.take(Push) if isinstance(message, Push)]


def jobs_in(push: Push) -> dict[str, list[Job]]:
    return {each.owner: msgspec.msgpack.decode(each.jobs, type=list[Job]) for each in push.deliveries}


def key(job: Job) -> tuple[str, int]:
    return job.job_id, job.epoch


# ---- push


def test_one_push_has_a_delivery_for_each_worker_with_whole_jobs_and_their_tickets() -> None:
    store, queue = MemoryStore(), FakePeer()
    mine, others = begun(store, 2, payload=b'{"a": 1}'), begun(store, worker=OTHER_WORKER)

    deliveries().push([mine[0], *others, mine[1]], queue)

    (push,) = pushes(queue)
    assert jobs_in(push) == {WORKER: mine, OTHER_WORKER: others}
    assert [(each.units, each.tickets) for each in push.deliveries] == [
        (2 * SLOT_UNITS, [*map(ticket_for, mine)]), (SLOT_UNITS, [*map(ticket_for, others)]),
    ]  # fmt: skip
    assert not push.is_again


def test_payloads_that_are_too_large_for_one_message_travel_in_several() -> None:
    store, queue = MemoryStore(), FakePeer()
    jobs = begun(store, 5, payload=b'"' + b"x" * (CLAIM_BYTES // 2) + b'"')

    deliveries().push(jobs, queue)

    sent = [jobs_in(push)[WORKER] for push in pushes(queue)]
    assert [job for some in sent for job in some] == jobs
    assert all(len(some) == 1 or sum(len(job.payload) for job in some) <= CLAIM_BYTES for some in sent)


# ---- confirm


def test_what_is_confirmed_is_done_with_and_what_came_later_is_not() -> None:
    store, queue, under_way = MemoryStore(), FakePeer(), deliveries()
    under_way.push(begun(store), queue)
    later = begun(store)
    under_way.push(later, queue)

    under_way.confirm(1)
    is_clear = under_way.is_clear
    pushes(queue)
    under_way.push_again(queue)

    assert not is_clear
    assert [jobs_in(push) for push in pushes(queue)] == [{WORKER: later}]
    under_way.confirm(1)
    assert under_way.is_clear


def test_what_is_not_confirmed_is_pushed_again_to_a_new_queue_and_marked_as_such() -> None:
    store, queue, under_way = MemoryStore(), FakePeer(), deliveries()
    jobs = begun(store, 2)
    for job in jobs:
        under_way.push([job], queue)

    new_queue = FakePeer()
    under_way.push_again(new_queue)

    assert [(jobs_in(push)[WORKER], push.is_again) for push in pushes(new_queue)] == [([job], True) for job in jobs]


def test_the_pushes_of_a_new_connection_are_counted_from_its_start() -> None:
    store, queue, under_way = MemoryStore(), FakePeer(), deliveries()
    under_way.push(begun(store), queue)
    under_way.confirm(1)

    under_way.push_again(FakePeer())
    under_way.push(begun(store), queue)
    under_way.confirm(0)

    assert not under_way.is_clear


# ---- what cannot be delivered


def test_what_could_not_be_delivered_is_returned_as_if_it_had_never_been_claimed() -> None:
    store, under_way = MemoryStore(), deliveries()
    gone, other = begun(store, 2)
    under_way.push([gone, other], FakePeer())

    under_way.note_undelivered([key(gone)])

    assert under_way.give_back(store, START) == 1
    assert [(job.status, job.attempt) for job in store.all_jobs()] == [(Status.PENDING, 0), (Status.RUNNING, 1)]
    assert store.executions(gone.job_id) == []
    assert under_way.give_back(store, START) == 0


def test_it_is_not_clear_before_that_is_returned() -> None:
    store, under_way = MemoryStore(), deliveries()
    (job,) = begun(store)
    under_way.push([job], FakePeer())
    under_way.note_undelivered([key(job)])
    under_way.confirm(1)

    before = under_way.is_clear
    under_way.give_back(store, START)

    assert (before, under_way.is_clear) == (False, True)


def test_what_somebody_else_has_recovered_meanwhile_stays_as_it_is() -> None:
    store, under_way = MemoryStore(), deliveries()
    (job,) = begun(store)
    under_way.push([job], FakePeer())
    store.apply([lifecycle.recover(job, now=START, max_lost=5)])

    under_way.note_undelivered([key(job)])

    assert under_way.give_back(store, START) == 0
    assert (store.all_jobs()[0].lost_count, store.all_jobs()[0].attempt) == (1, 1)


def test_what_was_to_be_cancelled_meanwhile_ends_as_cancelled() -> None:
    store, under_way = MemoryStore(), deliveries()
    (job,) = begun(store)
    under_way.push([job], FakePeer())
    store.apply([lifecycle.cancel(job, now=START)])

    under_way.note_undelivered([key(job)])

    assert under_way.give_back(store, START) == 1
    assert (store.all_jobs()[0].status, store.all_jobs()[0].attempt) == (Status.CANCELLED, 0)


def test_what_could_not_be_returned_for_want_of_a_database_is_returned_later() -> None:
    class Away(MemoryStore):
        is_away = True

        def apply(self, changes: Sequence[lifecycle.Change]) -> list[bool]:
            if self.is_away:
                raise StoreUnavailable("away")
            return super().apply(changes)

    store, under_way = Away(), deliveries()
    store.is_away = False
    (job,) = begun(store)
    under_way.push([job], FakePeer())
    under_way.note_undelivered([key(job)])
    store.is_away = True
    with pytest.raises(StoreUnavailable):
        under_way.give_back(store, START)

    store.is_away = False

    assert under_way.give_back(store, START) == 1


def test_word_of_unknown_leases_returns_nothing() -> None:
    store, under_way = MemoryStore(), deliveries()
    (job,) = begun(store)
    under_way.push([job], FakePeer())

    under_way.note_undelivered([(job.job_id, job.epoch - 1), ("f" * 24, 2)])

    assert under_way.give_back(store, START) == 0
