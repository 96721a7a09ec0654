"""Load balancer: round robin over healthy schedulers; nothing is done twice; busy schedulers are waited for, dead ones are not."""

from __future__ import annotations

import pytest

from jobyard.api.front.load_balancer import REQUEST_S
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CancelJob, CountJobs, Find, List, Refused, RetryJob
from tests.support.schedulers import ID, NAMES, FakeSchedulers

AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


def test_every_healthy_scheduler_gets_its_share(schedulers: FakeSchedulers) -> None:
    balancer = schedulers.balancer()

    for _ in range(6):
        balancer.send(CountJobs())

    assert schedulers.names() == NAMES * 2


def test_a_scheduler_that_loses_its_connection_is_left_out_and_the_next_gets_the_request(schedulers: FakeSchedulers) -> None:
    balancer = schedulers.balancer()
    schedulers.broken = {NAMES[0]}

    for _ in range(4):
        balancer.send(CountJobs())

    assert schedulers.names().count(NAMES[0]) == 1
    assert len(schedulers.asked) == 5


def test_a_recovered_scheduler_gets_requests_again(schedulers: FakeSchedulers) -> None:
    balancer = schedulers.balancer()
    schedulers.gone = {NAMES[0]}
    balancer.send(CountJobs())
    schedulers.gone = set()

    schedulers.health.check()
    schedulers.asked.clear()
    for _ in range(3):
        balancer.send(CountJobs())

    assert sorted(schedulers.names()) == NAMES


def test_with_all_schedulers_gone_it_fails_at_once(schedulers: FakeSchedulers) -> None:
    schedulers.gone = set(NAMES)
    before = schedulers.world.monotonic()

    with pytest.raises(Unavailable) as raised:
        schedulers.balancer().send(CountJobs())

    assert (raised.value.code, raised.value.retry_after_s) == ("no_scheduler", 1)
    assert schedulers.world.monotonic() == before


def test_when_all_are_unhealthy_they_are_tried_anyway_and_found_to_be_back(schedulers: FakeSchedulers) -> None:
    balancer = schedulers.balancer()
    schedulers.gone = set(NAMES)
    with pytest.raises(Unavailable):
        balancer.send(CountJobs())
    schedulers.gone = set()

    balancer.send(CountJobs())
    balancer.send(CountJobs())

    assert schedulers.pinged == []


def test_without_any_scheduler_it_fails_at_once(schedulers: FakeSchedulers) -> None:
    with pytest.raises(Unavailable):
        schedulers.balancer([]).send(CountJobs())


def test_a_busy_scheduler_is_waited_for(schedulers: FakeSchedulers) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 9.0)

    schedulers.balancer().send(CountJobs())

    assert schedulers.names() == [NAMES[0]]


def test_a_hung_scheduler_is_skipped_after_seconds_of_silence(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    before = schedulers.world.monotonic()

    schedulers.balancer().send(CountJobs())

    assert schedulers.names() == NAMES[:2]
    assert 3 <= schedulers.world.monotonic() - before < 4
    assert schedulers.calls[0].is_dropped


def test_with_all_schedulers_hung_the_request_waits_until_its_time_is_up(schedulers: FakeSchedulers) -> None:
    schedulers.hung = set(NAMES)
    before = schedulers.world.monotonic()

    with pytest.raises(Unavailable):
        schedulers.balancer().send(CountJobs())

    assert REQUEST_S <= schedulers.world.monotonic() - before < REQUEST_S + 1


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
@pytest.mark.parametrize("fault", ["broken", "hung"])
def test_a_change_that_may_have_been_made_is_not_repeated(schedulers: FakeSchedulers, request_: Message, fault: str) -> None:
    setattr(schedulers, fault, {NAMES[0]})

    with pytest.raises(Unavailable) as raised:
        schedulers.balancer().send(request_)

    assert (raised.value.code, len(schedulers.asked)) == ("unavailable", 1)


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
@pytest.mark.parametrize("fault", ["gone", "deaf"])
def test_a_change_that_was_not_sent_goes_to_the_next_scheduler(schedulers: FakeSchedulers, request_: Message, fault: str) -> None:
    setattr(schedulers, fault, {NAMES[0]})
    schedulers.hung = {NAMES[0]}

    schedulers.balancer().send(request_)

    assert schedulers.names() == NAMES[:2]


def test_a_refusal_is_an_answer(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(AWAY)
    balancer = schedulers.balancer()

    assert [balancer.send(CountJobs()) for _ in range(3)] == [AWAY] * 3
    assert schedulers.names() == NAMES


def test_a_costly_read_is_abandoned_when_its_client_has_disconnected(schedulers: FakeSchedulers) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 9.0)
    schedulers.is_client_gone = True
    before = schedulers.world.monotonic()

    with pytest.raises(Unavailable):
        schedulers.balancer().send(List())

    assert schedulers.world.monotonic() - before < 1
    assert [call.is_dropped for call in schedulers.calls] == [True]


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), Find(job_id=ID)])
def test_any_other_request_is_carried_out_although_its_client_may_have_disconnected(
    schedulers: FakeSchedulers, request_: Message
) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 9.0)
    schedulers.is_client_gone = True

    schedulers.balancer().send(request_)

    assert schedulers.names() == [NAMES[0]]
