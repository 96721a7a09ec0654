"""Round robin over those that are well; nothing is done twice; the busy are waited for, the dead are not."""

from __future__ import annotations

import pytest

from jobyard.api.front.load_balancer import REQUEST_S
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.messages import CancelJob, CountJobs, Message, Refused, RetryJob
from tests.support.schedulers import ID, NAMES, FakeSchedulers

AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


def test_every_healthy_scheduler_has_its_turn(schedulers: FakeSchedulers) -> None:
    line = schedulers.line()

    for _ in range(6):
        line.send(CountJobs())

    assert schedulers.names() == NAMES * 2


def test_one_that_breaks_off_is_left_out_and_the_next_gets_the_question(schedulers: FakeSchedulers) -> None:
    line = schedulers.line()
    schedulers.broken = {NAMES[0]}

    for _ in range(4):
        line.send(CountJobs())

    assert schedulers.names().count(NAMES[0]) == 1
    assert len(schedulers.asked) == 5


def test_one_that_is_well_again_is_asked_again(schedulers: FakeSchedulers) -> None:
    line = schedulers.line()
    schedulers.gone = {NAMES[0]}
    line.send(CountJobs())
    schedulers.gone = set()

    schedulers.health.check()
    schedulers.asked.clear()
    for _ in range(3):
        line.send(CountJobs())

    assert sorted(schedulers.names()) == NAMES


def test_with_all_gone_it_is_told_at_once(schedulers: FakeSchedulers) -> None:
    schedulers.gone = set(NAMES)
    before = schedulers.world.monotonic()

    with pytest.raises(Unavailable) as told:
        schedulers.line().send(CountJobs())

    assert (told.value.code, told.value.retry_after_s) == ("no_scheduler", 1)
    assert schedulers.world.monotonic() == before


def test_those_that_were_all_gone_are_tried_and_so_found_to_be_back(schedulers: FakeSchedulers) -> None:
    line = schedulers.line()
    schedulers.gone = set(NAMES)
    with pytest.raises(Unavailable):
        line.send(CountJobs())
    schedulers.gone = set()

    line.send(CountJobs())
    line.send(CountJobs())

    assert schedulers.pinged == []


def test_without_any_scheduler_it_is_told_at_once(schedulers: FakeSchedulers) -> None:
    with pytest.raises(Unavailable):
        schedulers.line([]).send(CountJobs())


def test_one_that_is_only_busy_is_waited_for(schedulers: FakeSchedulers) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 9.0)

    schedulers.line().send(CountJobs())

    assert schedulers.names() == [NAMES[0]]


def test_one_that_hangs_is_passed_over_once_nothing_was_heard_of_it_for_seconds(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    before = schedulers.world.monotonic()

    schedulers.line().send(CountJobs())

    assert schedulers.names() == NAMES[:2]
    assert 3 <= schedulers.world.monotonic() - before < 4
    assert schedulers.calls[0].is_dropped


def test_with_all_hung_one_is_waited_for_until_the_time_is_up(schedulers: FakeSchedulers) -> None:
    schedulers.hung = set(NAMES)
    before = schedulers.world.monotonic()

    with pytest.raises(Unavailable):
        schedulers.line().send(CountJobs())

    assert REQUEST_S <= schedulers.world.monotonic() - before < REQUEST_S + 1


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
@pytest.mark.parametrize("fault", ["broken", "hung"])
def test_what_may_have_been_done_is_not_done_again(schedulers: FakeSchedulers, request_: Message, fault: str) -> None:
    setattr(schedulers, fault, {NAMES[0]})

    with pytest.raises(Unavailable) as told:
        schedulers.line().send(request_)

    assert (told.value.code, len(schedulers.asked)) == ("unavailable", 1)


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
@pytest.mark.parametrize("fault", ["gone", "deaf"])
def test_what_was_not_sent_goes_to_the_next(schedulers: FakeSchedulers, request_: Message, fault: str) -> None:
    setattr(schedulers, fault, {NAMES[0]})
    schedulers.hung = {NAMES[0]}

    schedulers.line().send(request_)

    assert schedulers.names() == NAMES[:2]


def test_a_refusal_is_an_answer(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(AWAY)
    line = schedulers.line()

    assert [line.send(CountJobs()) for _ in range(3)] == [AWAY] * 3
    assert schedulers.names() == NAMES
