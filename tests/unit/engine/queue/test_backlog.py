"""What the queue holds: order, leases, room."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from jobyard.engine.jobs.job import Ticket
from jobyard.engine.queue.backlog import Backlog
from tests.support.builders import a_ticket
from tests.support.world import START

A_WORKER, ANOTHER = object(), object()


def filled(*tickets: Ticket, capacity: int = 100) -> Backlog:
    backlog = Backlog(capacity)
    for ticket in tickets:
        assert backlog.push(ticket)
    return backlog


def pop(backlog: Backlog, count: int = 100, *, holder: object = A_WORKER, expires_at: float = 30.0) -> list[Ticket]:
    return backlog.pop(count, holder=holder, worker="worker-7001", expires_at=expires_at)


def lease(ticket: Ticket) -> tuple[str, int]:
    return ticket.job_id, ticket.epoch


def sizes(backlog: Backlog) -> tuple[int, int, int]:
    return backlog.size, backlog.ready, backlog.leased


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=40))
def test_tickets_come_by_priority_then_due_time_then_arrival(pushed: list[tuple[int, int]]) -> None:
    tickets = [a_ticket(priority=priority, scheduled_at=START + timedelta(seconds=due)) for priority, due in pushed]

    popped = pop(filled(*tickets))

    assert popped == sorted(tickets, key=lambda ticket: (-ticket.priority, ticket.scheduled_at))


def test_no_more_are_handed_out_than_were_asked_for() -> None:
    backlog = filled(*(a_ticket(priority=number) for number in range(10)))

    assert [ticket.priority for ticket in pop(backlog, 3)] == [9, 8, 7]
    assert sizes(backlog) == (10, 7, 3)


def test_a_ticket_is_pushed_once_for_each_epoch() -> None:
    ticket = a_ticket(epoch=4)
    backlog = filled(ticket)

    assert not backlog.push(ticket)
    pop(backlog)
    assert not backlog.push(ticket)
    assert not backlog.push(a_ticket(job_id=ticket.job_id, epoch=3))
    assert sizes(backlog) == (1, 0, 1)


def test_a_ticket_of_a_later_epoch_takes_the_place_of_an_earlier_one() -> None:
    old = a_ticket(epoch=1, priority=3)
    new = a_ticket(job_id=old.job_id, epoch=3, priority=3)
    backlog = filled(old)

    assert backlog.push(new)
    assert pop(backlog) == [new]
    assert sizes(backlog) == (1, 0, 1)


def test_a_ticket_of_a_later_epoch_ends_the_lease_of_an_earlier_one() -> None:
    old = a_ticket(epoch=1)
    new = a_ticket(job_id=old.job_id, epoch=3)
    backlog = filled(old)
    pop(backlog)
    backlog.push(new)

    assert backlog.overtaken == 1
    assert backlog.ack([lease(old)], holder=A_WORKER) == 0
    assert pop(backlog, holder=ANOTHER) == [new]
    assert backlog.release([lease(old)], holder=A_WORKER) == 0
    assert sizes(backlog) == (1, 0, 1)


def test_what_is_acked_is_gone_and_makes_room() -> None:
    ticket = a_ticket(priority=2)
    backlog = filled(ticket, capacity=1)
    pop(backlog)

    assert backlog.room(2) == 0
    assert backlog.ack([lease(ticket)], holder=A_WORKER) == 1
    assert (backlog.room(2), sizes(backlog)) == (1, (0, 0, 0))


def test_only_its_holder_may_ack_release_or_extend_a_lease() -> None:
    ticket = a_ticket()
    backlog = filled(ticket)
    pop(backlog, expires_at=30.0)

    assert backlog.ack([lease(ticket)], holder=ANOTHER) == 0
    assert backlog.release([lease(ticket)], holder=ANOTHER) == 0
    backlog.extend([lease(ticket)], holder=ANOTHER, expires_at=99.0)
    assert backlog.expire(30.0) == 1


def test_an_ack_or_release_of_what_is_not_leased_or_not_known_changes_nothing() -> None:
    ticket = a_ticket()
    backlog = filled(ticket)

    assert backlog.ack([lease(ticket), ("f" * 24, 1)], holder=A_WORKER) == 0
    assert backlog.release([lease(ticket)], holder=A_WORKER) == 0
    assert sizes(backlog) == (1, 1, 0)


def test_a_lease_named_twice_in_one_breath_counts_once() -> None:
    released, acked = a_ticket(), a_ticket()
    backlog = filled(released, acked)
    pop(backlog)

    assert backlog.release([lease(released)] * 2, holder=A_WORKER) == 1
    assert backlog.ack([lease(acked)] * 2, holder=A_WORKER) == 1
    assert sizes(backlog) == (1, 1, 0)
    assert pop(backlog) == [released]


def test_what_is_released_goes_back_to_its_old_place() -> None:
    first, second = a_ticket(), a_ticket()
    backlog = filled(first, second)
    pop(backlog, 1)

    assert backlog.release([lease(first)], holder=A_WORKER) == 1
    assert pop(backlog, holder=ANOTHER) == [first, second]


def test_everything_a_lost_holder_had_is_ready_again_and_nothing_else() -> None:
    tickets = [a_ticket() for _ in range(4)]
    backlog = filled(*tickets)
    pop(backlog, 2)
    pop(backlog, 1, holder=ANOTHER)

    assert backlog.release_all(A_WORKER) == 2
    assert sizes(backlog) == (4, 3, 1)
    assert pop(backlog) == [tickets[0], tickets[1], tickets[3]]


def test_a_lease_runs_out_at_its_end_unless_it_is_extended() -> None:
    kept, lost = a_ticket(), a_ticket()
    backlog = filled(kept, lost)
    pop(backlog, expires_at=30.0)
    backlog.extend([lease(kept)], holder=A_WORKER, expires_at=60.0)

    assert backlog.expire(29.9) == 0
    assert backlog.expire(30.0) == 1
    assert pop(backlog, holder=ANOTHER) == [lost]


def test_an_extension_for_an_earlier_epoch_does_not_keep_the_present_lease() -> None:
    ticket = a_ticket(epoch=5)
    backlog = filled(ticket)
    pop(backlog, expires_at=30.0)

    backlog.extend([(ticket.job_id, 3)], holder=A_WORKER, expires_at=99.0)

    assert backlog.expire(30.0) == 1


def test_a_cancelled_ticket_is_forgotten_while_it_is_ready_and_left_to_its_worker_while_it_is_leased() -> None:
    ready, leased = a_ticket(priority=1), a_ticket(priority=9)
    backlog = filled(ready, leased)
    pop(backlog, 1)

    assert not backlog.discard(ready.job_id, before_epoch=ready.epoch)
    assert backlog.discard(ready.job_id, before_epoch=ready.epoch + 1)
    assert not backlog.discard(leased.job_id, before_epoch=leased.epoch + 1)
    assert not backlog.discard("f" * 24, before_epoch=9)
    assert sizes(backlog) == (1, 0, 1)
    assert pop(backlog) == []


def test_a_ticket_that_was_discarded_may_come_again() -> None:
    ticket = a_ticket()
    backlog = filled(ticket)
    backlog.discard(ticket.job_id, before_epoch=ticket.epoch + 1)

    assert backlog.push(ticket)
    assert pop(backlog) == [ticket]
    assert sizes(backlog) == (1, 0, 1)


def test_room_is_bounded_for_each_priority_and_never_negative() -> None:
    backlog = filled(*(a_ticket(priority=1) for _ in range(3)), capacity=2)

    assert [backlog.room(priority) for priority in range(10)] == [2, 0, *[2] * 8]


def test_entries_are_the_leased_then_the_ready_in_the_order_of_handing_out() -> None:
    low, early, late = a_ticket(priority=1), a_ticket(priority=5), a_ticket(priority=5, scheduled_at=START + timedelta(seconds=1))
    leased = a_ticket(priority=9)
    backlog = filled(late, low, early, leased)
    pop(backlog, 1)

    assert [entry.ticket for entry in backlog.entries(10)] == [leased, early, late, low]
    assert [entry.worker for entry in backlog.entries(2)] == ["worker-7001", None]
    assert backlog.entries(10)[1:] and [entry.ticket for entry in backlog.entries(3)] == [leased, early, late]


_verbs = st.sampled_from(["push", "pop", "ack", "release", "expire", "discard", "lose"])
_acts = st.lists(st.tuples(_verbs, st.integers(0, 4), st.integers(1, 3)), max_size=60)


@given(_acts)
def test_the_counts_always_agree_with_what_is_there(acts: list[tuple[str, int, int]]) -> None:
    backlog = Backlog(3)
    for act, number, epoch in acts:
        job_id = f"{number:024x}"
        match act:
            case "push":
                backlog.push(a_ticket(job_id=job_id, epoch=epoch, priority=number))
            case "pop":
                pop(backlog, epoch, expires_at=float(epoch))
            case "ack":
                backlog.ack([(job_id, epoch)], holder=A_WORKER)
            case "release":
                backlog.release([(job_id, epoch)], holder=A_WORKER)
            case "expire":
                backlog.expire(float(epoch))
            case "discard":
                backlog.discard(job_id, before_epoch=epoch)
            case _:
                backlog.release_all(A_WORKER)

        entries = backlog.entries(100)
        ready = [entry for entry in entries if entry.holder is None]
        assert sizes(backlog) == (len(entries), len(ready), len(entries) - len(ready))
        assert len(entries) == len({entry.ticket.job_id for entry in entries}) == len(backlog.tickets())
        stored = [sum(entry.ticket.priority == priority for entry in entries) for priority in range(10)]
        assert [backlog.room(priority) for priority in range(10)] == [max(0, 3 - count) for count in stored]


def test_a_ready_job_knows_how_many_are_handed_out_before_it() -> None:
    backlog = Backlog()
    low, high, later, first = a_ticket(priority=1), a_ticket(priority=9), a_ticket(priority=5), a_ticket(priority=5)
    for ticket in (first, low, high, later):
        backlog.push(ticket)

    assert [backlog.place(ticket.job_id)[1] for ticket in (high, first, later, low)] == [0, 1, 2, 3]
    assert backlog.waiting() == [0, 1, 0, 0, 0, 2, 0, 0, 0, 1]

    backlog.pop(1, holder="peer", worker="worker-7001", expires_at=1)

    entry, ahead = backlog.place(high.job_id)
    assert entry is not None and (entry.worker, ahead) == ("worker-7001", 0)
    assert backlog.place(low.job_id)[1] == 2
    assert backlog.place("0" * 24) == (None, 0)
