"""Delivery: a 503 means that nothing was sent, or that a scheduler knows that nothing is stored; else the outcome is unknown."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from jobyard.api.front.delivery import GIVE_UP_S
from jobyard.engine.config import read_settings
from jobyard.engine.errors import OutcomeUnknown, Unavailable
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Expired, Refused, Submit
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
    return Submit(form="job", body=b"{}", first_id=ID, deadline=schedulers.balancer().submit_deadline())


def send(schedulers: FakeSchedulers, names: list[str] = NAMES) -> Message:
    return schedulers.balancer(names).send(submit(schedulers))


def elapsed_s(schedulers: FakeSchedulers) -> float:
    return schedulers.world.monotonic() - FakeSchedulers().world.monotonic()


def refuses_until_late(schedulers: FakeSchedulers, name: str) -> None:
    """Overloaded, and after the deadline certain that nothing is stored."""

    def answer(request: Message) -> Message:
        assert isinstance(request, Submit)
        return Expired() if schedulers.world.monotonic() > request.deadline else FULL

    schedulers.answers[name] = answer


@pytest.mark.parametrize("answer", [YES, WRONG, AWAY, FULL])
def test_the_first_schedulers_answer_is_returned(schedulers: FakeSchedulers, answer: Message) -> None:
    schedulers.answer_in_turn(answer)

    assert send(schedulers) == answer
    assert len(schedulers.asked) == 1


def test_without_a_reachable_scheduler_it_fails_at_once(schedulers: FakeSchedulers) -> None:
    schedulers.gone = set(NAMES)

    with pytest.raises(Unavailable) as raised:
        send(schedulers)

    assert (raised.value.code, elapsed_s(schedulers)) == ("no_scheduler", 0)


def test_a_submission_that_was_not_sent_goes_to_the_next_scheduler_as_new(schedulers: FakeSchedulers) -> None:
    schedulers.gone = {NAMES[0]}

    assert send(schedulers) == YES
    assert [(name, request.is_again) for name, request in schedulers.asked if isinstance(request, Submit)] == [
        (NAMES[0], False), (NAMES[1], False),
    ]  # fmt: skip


def test_after_a_lost_connection_the_next_scheduler_gets_the_same_request_marked_is_again(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}

    assert send(schedulers) == YES
    first, second = (request for _, request in schedulers.asked)
    assert isinstance(first, Submit)
    assert (first.is_again, second) == (False, msgspec.structs.replace(first, is_again=True))


@pytest.mark.parametrize("refusal", [FULL, AWAY])
def test_a_refusal_does_not_settle_an_earlier_uncertain_attempt(schedulers: FakeSchedulers, refusal: Refused) -> None:
    schedulers.broken = {NAMES[0]}
    schedulers.answer_in_turn(refusal, refusal, YES)

    assert send(schedulers) == YES


def test_a_503_after_an_uncertain_attempt_comes_from_after_the_deadline(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(Unavailable) as raised:
        send(schedulers)

    assert raised.value.code == "unavailable"
    assert 8 < elapsed_s(schedulers) < 10


def test_retries_after_an_uncertain_attempt_are_paced(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(Unavailable):
        send(schedulers)

    assert len(schedulers.asked) < 20


def test_when_every_connection_is_lost_the_outcome_is_unknown(schedulers: FakeSchedulers) -> None:
    schedulers.broken = set(NAMES)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)

    assert GIVE_UP_S <= elapsed_s(schedulers) < GIVE_UP_S + 2


def test_on_a_schedulers_own_port_the_retry_waits_for_its_successor(schedulers: FakeSchedulers) -> None:
    schedulers.broken = {NAMES[0]}
    schedulers.after(0.3, schedulers.broken.clear, lambda: schedulers.gone.add(NAMES[0]))
    schedulers.after(0.8, schedulers.gone.clear)

    assert send(schedulers, NAMES[:1]) == YES
    assert set(schedulers.names()) == {NAMES[0]}


def test_a_busy_scheduler_is_waited_for(schedulers: FakeSchedulers) -> None:
    schedulers.takes_s = dict.fromkeys(NAMES, 7.0)

    assert send(schedulers) == YES
    assert schedulers.names() == [NAMES[0]]


def test_a_hung_scheduler_is_skipped_after_seconds_of_silence(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}

    assert send(schedulers) == YES
    assert schedulers.names() == NAMES[:2]
    assert 3 <= elapsed_s(schedulers) < 4


def test_a_scheduler_that_never_received_it_is_skipped_and_the_next_gets_it_as_new(schedulers: FakeSchedulers) -> None:
    schedulers.hung = schedulers.deaf = {NAMES[0]}

    assert send(schedulers) == YES
    assert [request.is_again for _, request in schedulers.asked if isinstance(request, Submit)] == [False, False]
    assert schedulers.calls[0].is_dropped


def test_with_all_schedulers_hung_the_delivery_waits_for_a_replacement(schedulers: FakeSchedulers) -> None:
    """The supervisor kills a hung scheduler after `HANG_S`: its connection is lost, and its successor has the answer."""
    schedulers.hung = set(NAMES)
    for name in NAMES:
        refuses_until_late(schedulers, name)
    schedulers.after(11, schedulers.hung.clear, lambda: schedulers.broken.update(NAMES))
    schedulers.after(12, schedulers.broken.clear)

    with pytest.raises(Unavailable):
        send(schedulers)

    assert 12 < elapsed_s(schedulers) < GIVE_UP_S


def test_with_all_schedulers_hung_for_ever_the_outcome_is_unknown(schedulers: FakeSchedulers) -> None:
    schedulers.hung = set(NAMES)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)

    assert GIVE_UP_S <= elapsed_s(schedulers) < GIVE_UP_S + 1


def test_a_scheduler_that_has_begun_is_waited_for_although_it_hangs(schedulers: FakeSchedulers) -> None:
    schedulers.hung = schedulers.begun = {NAMES[0]}
    schedulers.after(6, schedulers.hung.clear)

    assert send(schedulers) == YES
    assert schedulers.names() == [NAMES[0]]


def test_after_a_lost_connection_that_had_begun_another_schedulers_expired_is_not_conclusive(schedulers: FakeSchedulers) -> None:
    schedulers.broken = schedulers.begun = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_after_a_lost_connection_that_had_begun_another_scheduler_may_find_the_job(schedulers: FakeSchedulers) -> None:
    schedulers.broken = schedulers.begun = {NAMES[0]}

    assert send(schedulers) == YES


def test_a_skipped_scheduler_may_report_that_it_had_begun(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)
    schedulers.after(5, lambda: schedulers.begun.add(NAMES[0]))

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_a_skipped_scheduler_may_have_accepted_it_since(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    for name in NAMES[1:]:
        refuses_until_late(schedulers, name)
    schedulers.after(5, schedulers.hung.clear)

    assert send(schedulers) == YES


def test_an_unknown_outcome_is_retried_until_a_scheduler_knows_it(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(UNKNOWN, AWAY, YES)

    assert send(schedulers) == YES


def test_an_outcome_that_no_scheduler_knows_is_reported_as_unknown(schedulers: FakeSchedulers) -> None:
    schedulers.answer_in_turn(UNKNOWN, AWAY)

    with pytest.raises(OutcomeUnknown):
        send(schedulers)


def test_no_call_is_left_open(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}

    send(schedulers)

    assert schedulers.calls[0].is_dropped


# ---- with real schedulers


class Roles:
    """Two real schedulers on one store; the first loses its connection after it has stored the job."""

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


def test_a_job_that_was_stored_already_is_accepted_although_the_limit_is_reached(
    schedulers: FakeSchedulers, tmp_path: Path
) -> None:  # fmt: skip
    roles = Roles(schedulers, tmp_path, MAX_PENDING="1")

    assert send(schedulers, NAMES[:2]) == YES
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]


def test_a_job_that_was_stored_already_is_accepted_when_the_database_is_back_after_the_deadline(
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
    assert 9 <= elapsed_s(schedulers) < GIVE_UP_S
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]


def test_a_job_stored_before_a_scheduler_died_is_accepted_by_its_successor(schedulers: FakeSchedulers, tmp_path: Path) -> None:
    roles = Roles(schedulers, tmp_path)
    schedulers.after(0.4, schedulers.broken.clear)

    assert send(schedulers, NAMES[:1]) == YES
    assert [job.job_id for job in roles.store.all_jobs()] == [ID]
