"""A 503 is a scheduler's word that nothing is stored, or nothing was sent; without a word nobody is told one or the other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from jobyard.api.front.delivery import WORD_S
from jobyard.engine.config import read_settings
from jobyard.engine.errors import OutcomeUnknown, Unavailable
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.messages import Accepted, Expired, Message, Refused, Submit
from jobyard.engine.wire.run_dir import RunDir
from tests.support.builders import a_log
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.schedulers import ID, NAMES, FakeSchedulers

YES = Accepted(job_ids=[ID])
UNKNOWN = Refused(code="outcome_unknown", message="who knows")
AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)
FULL = Refused(code="overloaded", message="full", retry_after_s=5)
WRONG = Refused(code="invalid_field", message="wrong")


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


def submit(schedulers: FakeSchedulers) -> Submit:
    return Submit(form="job", body=b"{}", first_id=ID, deadline=schedulers.line().submit_deadline())



def send(schedulers: FakeSchedulers, names: list[str] = NAMES) -> Message:
    return schedulers.line(names).send(submit(schedulers))


def elapsed_s(schedulers: FakeSchedulers) -> float:
    return schedulers.world.monotonic() - FakeSchedulers().world.monotonic()


def refuses_until_late(schedulers: FakeSchedulers, name: str) -> None:
    """Full, and after the deadline sure that nothing is stored."""

    def answer(request: Message) -> Message:
        assert isinstance(request, Submit)
        return Expired() if schedulers.world.monotonic() > request.deadline else FULL

    schedulers.answers[name] = answer


@pytest.mark.parametrize("answer", [YES, WRONG, AWAY, FULL])
def test_what_the_first_says_is_the_answer(schedulers: FakeSchedulers, answer: Message) -> None:
    schedulers.answer_in_turn(answer)

    assert send(schedulers) == answer
    assert len(schedulers.asked) == 1


def test_where_nobody_is_it_is_told_at_once(schedulers: FakeSchedulers) -> None:
    schedulers.gone = set(NAMES)

    with pytest.raises(Unavailable) as told:
        send(schedulers)

    assert (told.value.code, elapsed_s(schedulers)) == ("no_scheduler", 0)


def test_what_was_not_sent_goes_to_the_next_as_new(schedulers: FakeSchedulers) -> None:
    schedulers.gone = {NAMES[0]}

    assert send(schedulers) == YES
    assert [(name, request.is_again) for name, request in schedulers.asked if isinstance(request, Submit)] == [
        (NAMES[0], False), (NAMES[1], False),
    ]  # fmt: skip


def test_one_that_breaks_off_may_have_stored_it_so_the_next_gets_the_same_request_as_come_again(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}

    assert send(schedulers) == YES
    first, second = (request for _, request in schedulers.asked)
    assert isinstance(first, Submit)
    assert (first.is_again, second) == (False, msgspec.structs.replace(first, is_again=True))


@pytest.mark.parametrize("refusal", [FULL, AWAY])
def test_a_refusal_says_nothing_of_an_earlier_try(schedulers: FakeSchedulers, refusal: Refused) -> None:
    schedulers.broken = {NAMES[0]}
    schedulers.answer_in_turn(refusal, refusal, YES)

    assert send(schedulers) == YES


def test_a_503_after_a_doubt_is_a_word_from_after_the_deadline(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(Unavailable) as told:
        send(schedulers)

    assert told.value.code == "unavailable"
    assert 8 < elapsed_s(schedulers) < 10


def test_a_refusal_after_a_doubt_is_not_asked_for_too_often(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(Unavailable):
        send(schedulers)

    assert len(schedulers.asked) < 20


def test_what_all_break_off_on_is_unknown(schedulers: FakeSchedulers) -> None:
    schedulers.broken = set(NAMES)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)

    assert WORD_S <= elapsed_s(schedulers) < WORD_S + 2


def test_a_scheduler_of_its_own_port_is_asked_again_when_its_successor_is_there(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    schedulers.after(0.3, schedulers.broken.clear, lambda: schedulers.gone.add(NAMES[0]))
    schedulers.after(0.8, schedulers.gone.clear)

    assert send(schedulers, NAMES[:1]) == YES
    assert set(schedulers.names()) == {NAMES[0]}


def test_one_that_is_only_busy_is_waited_for(schedulers: FakeSchedulers) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 7.0)

    assert send(schedulers) == YES
    assert schedulers.names() == [NAMES[0]]


def test_one_that_hangs_is_passed_over_once_nothing_was_heard_of_it_for_seconds(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}

    assert send(schedulers) == YES
    assert schedulers.names() == NAMES[:2]
    assert 3 <= elapsed_s(schedulers) < 4


def test_one_that_does_not_even_take_it_is_passed_over_and_the_next_gets_it_as_new(schedulers: FakeSchedulers) -> None:
    schedulers.hung = schedulers.deaf = {NAMES[0]}

    assert send(schedulers) == YES
    assert [request.is_again for _, request in schedulers.asked if isinstance(request, Submit)] == [False, False]
    assert schedulers.calls[0].is_dropped


def test_with_all_hung_one_is_waited_for_until_it_is_replaced(schedulers: FakeSchedulers) -> None:
    """The supervisor kills what hangs after `HANG_S`: the connection breaks, and the successor has the word."""
    schedulers.hung = set(NAMES)
    for name in NAMES:
        refuses_until_late(schedulers, name)
    schedulers.after(11, schedulers.hung.clear, lambda: schedulers.broken.update(NAMES))
    schedulers.after(12, schedulers.broken.clear)

    with pytest.raises(Unavailable):
        send(schedulers)

    assert 12 < elapsed_s(schedulers) < WORD_S


def test_with_all_hung_for_ever_nobody_knows(schedulers: FakeSchedulers) -> None:
    schedulers.hung = set(NAMES)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)

    assert WORD_S <= elapsed_s(schedulers) < WORD_S + 1


def test_one_that_has_begun_is_waited_for_though_it_hangs(schedulers: FakeSchedulers) -> None:
    schedulers.hung = schedulers.begun = {NAMES[0]}
    schedulers.after(6, schedulers.hung.clear)

    assert send(schedulers) == YES
    assert schedulers.names() == [NAMES[0]]


def test_after_one_had_begun_and_broke_off_another_says_nothing_by_finding_nothing(schedulers: FakeSchedulers) -> None:
    schedulers.broken = schedulers.begun = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_after_one_had_begun_and_broke_off_another_may_find_it(schedulers: FakeSchedulers) -> None:
    schedulers.broken = schedulers.begun = {NAMES[0]}

    assert send(schedulers) == YES


def test_one_that_was_passed_over_may_say_that_it_had_begun(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)
    schedulers.after(5, lambda: schedulers.begun.add(NAMES[0]))

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_one_that_was_passed_over_may_have_accepted_it_since(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)
    schedulers.after(5, schedulers.hung.clear)

    assert send(schedulers) == YES


def test_what_a_scheduler_cannot_tell_is_asked_again_until_one_can(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(UNKNOWN, AWAY, YES)

    assert send(schedulers) == YES


def test_what_nobody_can_tell_is_no_error_and_no_success(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(UNKNOWN, AWAY)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_no_call_is_left_open(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}

    send(schedulers)

    assert schedulers.calls[0].is_dropped


# ---- with the role itself


class Roles:
    """Two of its schedulers on one store; the first breaks off when it has stored what it got."""

    def __init__(self, schedulers: FakeSchedulers, folder: Path, **asked: str) -> None:
        self.store = MemoryStore()
        run_dir = RunDir(folder)
        run_dir.make()
        write_catalog(run_dir, {"echo": TaskOptions()})
        for name in NAMES[:2]:
            role = Scheduler(
                owner=f"box:b00t:{name}:1", settings=read_settings(asked), world=schedulers.world, store=self.store,
                network=FakeNetwork(), log=a_log(), run_dir=run_dir,
            )  # fmt: skip
            schedulers.answers[name] = partial(self._ask, role)
        schedulers.broken = {NAMES[0]}

    def _ask(self, role: Scheduler, request: Message) -> Message:
        peer = FakePeer()
        role.tick([peer.says(request)])
        return peer.received[-1]


def test_what_the_first_stored_is_accepted_by_the_next_though_there_is_no_more_room(
    schedulers: FakeSchedulers, tmp_path: Path
) -> None:  # fmt: skip
    roles = Roles(schedulers, tmp_path, MAX_PENDING="1")

    assert send(schedulers, NAMES[:2]) == YES
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]


def test_what_the_first_stored_is_accepted_by_the_next_when_the_database_is_back_after_the_deadline(
    schedulers: FakeSchedulers, tmp_path: Path
) -> None:  # fmt: skip
    roles = Roles(schedulers, tmp_path)
    stores = schedulers.answers[NAMES[0]]

    def stores_and_loses_the_database(request: Message) -> Message:
        answer = stores(request)
        roles.store.is_down = True
        schedulers.after(9, lambda: setattr(roles.store, "is_down", False))
        return answer

    schedulers.answers[NAMES[0]] = stores_and_loses_the_database

    assert send(schedulers, NAMES[:2]) == YES
    assert 9 <= elapsed_s(schedulers) < WORD_S
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]


def test_what_a_scheduler_stored_before_it_died_is_accepted_by_its_successor(schedulers: FakeSchedulers, tmp_path: Path) -> None:
    roles = Roles(schedulers, tmp_path)
    schedulers.after(0.4, schedulers.broken.clear)

    assert send(schedulers, NAMES[:1]) == YES
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]
