"""Round robin over the healthy; nothing is done twice, and a 503 means that nothing was done."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Sequence

import pytest

from api.balancer import REQUEST_S, LoadBalancer
from engine.errors import OutcomeUnknown, Unavailable
from engine.wire.caller import NoAnswer
from engine.wire.messages import Accepted, CancelJob, CountJobs, Json, Message, Ping, Refused, RetryJob, Submit
from tests.support.world import FakeWorld

NAMES = ["scheduler-8081", "scheduler-8082", "scheduler-8083"]
ID = "0" * 24
UNKNOWN = Refused(code="outcome_unknown", message="who knows")
AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)
SUBMIT = Submit(form="job", body=b"{}", first_id=ID, deadline=2000.0)


class FakeCaller:
    """Schedulers that are well, gone (nothing was sent), or break off (something was)."""

    def __init__(self, world: FakeWorld) -> None:
        self.world = world
        self.asked: list[tuple[str, Message]] = []
        self.gone: set[str] = set()
        self.broken: set[str] = set()
        self.hung: set[str] = set()
        self.begun: set[str] = set()
        self.answers: dict[str, Message] = {}
        self.in_turn: list[Message] = []

    def call(self, name: str, request: Message, *, timeout_s: float, patience_s: float = 0) -> Message:
        self.asked.append((name, request))
        if name in self.hung:
            self.world.advance(timeout_s)
        if name in self.gone | self.broken | self.hung:
            raise NoAnswer(name, was_sent=name not in self.gone, was_begun=name in self.begun)
        if self.in_turn:
            return self.in_turn.pop(0)
        return self.answers.get(name, Accepted(job_ids=[ID]))

    def call_all(self, names: Sequence[str], request: Ping, *, timeout_s: float) -> dict[str, Message | None]:
        self.world.advance(0.05)
        bad = self.gone | self.broken | self.hung
        return {name: None if name in bad else Json(body=b"{}") for name in names}

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.fixture
def caller() -> FakeCaller:
    return FakeCaller(FakeWorld())


def balancer(caller: FakeCaller, names: Callable[[], list[str]] = lambda: NAMES) -> LoadBalancer:
    return LoadBalancer(caller, schedulers=names, world=caller.world)  # type: ignore[arg-type]


def test_every_healthy_scheduler_has_its_turn(caller: FakeCaller) -> None:
    line = balancer(caller)

    for _ in range(6):
        line.send(CountJobs())

    assert caller.names() == NAMES * 2


def test_one_that_fails_is_left_out_and_the_next_gets_the_same_request(caller: FakeCaller) -> None:
    line = balancer(caller)
    caller.broken = {NAMES[0]}

    answers = [line.send(SUBMIT) for _ in range(4)]

    assert answers == [Accepted(job_ids=[ID])] * 4
    assert caller.names().count(NAMES[0]) == 1
    assert {request for _, request in caller.asked} == {SUBMIT}


def test_one_that_is_well_again_is_asked_again(caller: FakeCaller) -> None:
    line = balancer(caller)
    caller.gone = {NAMES[0]}
    line.send(CountJobs())
    caller.gone = set()

    line._check()
    caller.asked.clear()
    for _ in range(3):
        line.send(CountJobs())

    assert sorted(caller.names()) == NAMES


def test_with_none_healthy_it_is_told_at_once(caller: FakeCaller) -> None:
    caller.gone = set(NAMES)
    before = caller.world.monotonic()

    with pytest.raises(Unavailable) as told:
        balancer(caller).send(SUBMIT)

    assert (told.value.code, told.value.retry_after_s) == ("no_scheduler", 1)
    assert caller.world.monotonic() - before < 1


def test_without_any_scheduler_it_is_told_at_once(caller: FakeCaller) -> None:
    with pytest.raises(Unavailable):
        balancer(caller, lambda: []).send(CountJobs())


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
def test_what_may_have_been_done_is_not_done_again(caller: FakeCaller, request_: Message) -> None:
    caller.broken = {NAMES[0]}

    with pytest.raises(Unavailable) as told:
        balancer(caller).send(request_)

    assert (told.value.code, len(caller.asked)) == ("unavailable", 1)


@pytest.mark.parametrize("request_", [CancelJob(job_id=ID), RetryJob(job_id=ID)])
def test_what_was_not_sent_goes_to_the_next(caller: FakeCaller, request_: Message) -> None:
    caller.gone = {NAMES[0]}

    balancer(caller).send(request_)

    assert caller.names() == NAMES[:2]


def test_a_submission_that_may_be_stored_is_repeated_until_nobody_can_store_it(caller: FakeCaller) -> None:
    line = balancer(caller)
    caller.broken = set(NAMES)
    deadline = line.submit_deadline()

    with pytest.raises(Unavailable):
        line.send(SUBMIT)

    assert caller.world.monotonic() > deadline


def test_hung_schedulers_do_not_eat_more_than_the_time_of_a_request(caller: FakeCaller) -> None:
    line = balancer(caller)
    caller.hung = set(NAMES)
    before = caller.world.monotonic()

    with pytest.raises(Unavailable):
        line.send(SUBMIT)

    assert REQUEST_S <= caller.world.monotonic() - before < REQUEST_S + 1


def test_a_refusal_is_an_answer(caller: FakeCaller) -> None:
    line = balancer(caller)
    away = Refused(code="database_unavailable", message="away", retry_after_s=1)
    caller.answers = dict.fromkeys(NAMES, away)

    assert [line.send(SUBMIT) for _ in range(3)] == [away] * 3
    assert caller.names() == NAMES


def test_what_a_scheduler_cannot_tell_is_asked_again_until_one_can(caller: FakeCaller) -> None:
    caller.in_turn = [UNKNOWN, AWAY, Accepted(job_ids=[ID])]

    assert balancer(caller).send(SUBMIT) == Accepted(job_ids=[ID])

    assert {request for _, request in caller.asked} == {SUBMIT}


def test_what_nobody_can_tell_is_no_error_and_no_success(caller: FakeCaller) -> None:
    caller.in_turn = [UNKNOWN] + [AWAY] * 10_000

    with pytest.raises(OutcomeUnknown):
        balancer(caller).send(SUBMIT)


def test_what_was_begun_and_never_answered_is_no_error_and_no_success(caller: FakeCaller) -> None:
    caller.hung = caller.begun = set(NAMES)

    with pytest.raises(OutcomeUnknown):
        balancer(caller).send(SUBMIT)


def test_the_health_checks_outlive_a_look_for_which_there_was_no_descriptor(caller: FakeCaller) -> None:
    looks: list[object] = []

    def names() -> list[str]:
        looks.append(None)
        if len(looks) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        raise SystemExit  # the end of the thread

    line = balancer(caller, names)
    line._leave_out(NAMES[0])  # noqa: SLF001
    with contextlib.suppress(SystemExit):
        line.check_for_ever()

    assert len(looks) == 2
