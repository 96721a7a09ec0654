"""Leases: who has which job, until when; a late message about an earlier epoch touches nothing."""

from __future__ import annotations

from jobyard.engine.jobs.job import Ticket
from jobyard.engine.queue.leases import Key, Leases
from tests.support.builders import a_ticket

HOLDER, OTHER = object(), object()


def key(ticket: Ticket) -> Key:
    return ticket.job_id, ticket.epoch


def leased(*tickets: Ticket, holder: object = HOLDER, expires_at: float = 30.0) -> Leases:
    leases = Leases()
    for ticket in tickets:
        leases.add(ticket, holder=holder, worker="worker-7001", expires_at=expires_at)
    return leases


def test_leases_are_listed_oldest_first() -> None:
    tickets = [a_ticket(priority=number) for number in (1, 9, 5)]

    leases = leased(*tickets)

    assert [lease.ticket for lease in leases] == tickets
    assert len(leases) == 3


def test_the_end_of_a_lease_counts_once() -> None:
    ticket = a_ticket()
    leases = leased(ticket)

    assert leases.end([key(ticket), key(ticket)], holder=HOLDER) == 1
    assert leases.end([key(ticket)], holder=HOLDER) == 0
    assert len(leases) == 0


def test_nobody_ends_or_extends_the_lease_of_another() -> None:
    ticket = a_ticket()
    leases = leased(ticket)

    leases.extend([key(ticket)], holder=OTHER, expires_at=99.0)

    assert leases.end([key(ticket)], holder=OTHER) == 0
    assert [lease.expires_at for lease in leases] == [30.0]


def test_a_message_about_an_earlier_epoch_changes_nothing() -> None:
    ticket = a_ticket(epoch=4)
    leases = leased(ticket)

    leases.extend([(ticket.job_id, 2)], holder=HOLDER, expires_at=99.0)

    assert leases.end([(ticket.job_id, 2)], holder=HOLDER) == 0
    assert [lease.expires_at for lease in leases] == [30.0]


def test_a_later_lease_of_a_job_replaces_the_earlier_one() -> None:
    earlier = a_ticket(epoch=2)
    later = a_ticket(job_id=earlier.job_id, epoch=4)
    leases = leased(earlier)

    leases.add(later, holder=OTHER, worker="worker-7002", expires_at=60.0)

    assert len(leases) == 1
    assert [(lease.ticket, lease.worker) for lease in leases] == [(later, "worker-7002")]


def test_the_end_of_a_lease_that_was_replaced_counts_once_and_ends_no_other() -> None:
    """A job that was returned may be claimed and leased again before the word of its return is here."""
    first, later = a_ticket(epoch=2), a_ticket(epoch=4)
    later = a_ticket(job_id=first.job_id, epoch=4)
    leases = leased(first)
    leases.add(later, holder=HOLDER, worker="worker-7001", expires_at=60.0)

    assert leases.end([key(first)], holder=OTHER) == 0
    assert leases.end([key(first), key(first)], holder=HOLDER) == 1
    assert [lease.ticket for lease in leases] == [later]
    assert leases.end([key(later)], holder=HOLDER) == 1


def test_a_replaced_lease_whose_end_never_comes_is_forgotten() -> None:
    earlier = a_ticket(epoch=2)
    for forget in (lambda leases: leases.expire(30.0), lambda leases: leases.end_all(HOLDER)):
        leases = leased(earlier)
        leases.add(a_ticket(job_id=earlier.job_id, epoch=4), holder=OTHER, worker="worker-7002", expires_at=60.0)

        assert forget(leases) == 0
        assert leases.end([key(earlier)], holder=HOLDER) == 0


def test_what_is_not_extended_expires_and_what_is_extended_does_not() -> None:
    kept, lost = a_ticket(), a_ticket()
    leases = leased(kept, lost)
    leases.extend([key(kept)], holder=HOLDER, expires_at=50.0)

    assert (leases.expire(29.9), leases.expire(30.0)) == (0, 1)
    assert [lease.ticket for lease in leases] == [kept]


def test_the_leases_of_a_holder_that_is_gone_end_and_no_others() -> None:
    mine, other = a_ticket(), a_ticket()
    leases = leased(mine)
    leases.add(other, holder=OTHER, worker="worker-7002", expires_at=30.0)

    assert leases.end_all(HOLDER) == 1
    assert [lease.ticket for lease in leases] == [other]
