"""Health: a busy scheduler is healthy, one that is gone or silent for seconds is not; the checks survive any error."""

from __future__ import annotations

import threading

import pytest

from jobyard.api.front.health import Health
from jobyard.engine.wire.caller import SILENT_S
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json, Refused
from jobyard.engine.world import World
from tests.support.builders import a_log
from tests.support.schedulers import NAMES, FakeSchedulers
from tests.support.waiting import wait_for


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


def healthy(schedulers: FakeSchedulers) -> list[str]:
    return [name for name in NAMES if schedulers.health.is_healthy(name)]


def test_a_scheduler_that_refuses_or_loses_its_connection_is_unhealthy_until_it_answers(schedulers: FakeSchedulers) -> None:
    schedulers.gone, schedulers.broken = {NAMES[0]}, {NAMES[1]}
    schedulers.health.check()
    first = healthy(schedulers)
    schedulers.gone, schedulers.broken = set(), set()
    schedulers.health.check()

    assert (first, healthy(schedulers)) == (NAMES[2:], NAMES)


def test_a_silent_scheduler_becomes_unhealthy_after_silent_s_and_gets_one_ping_only(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    schedulers.health.check()
    schedulers.world.advance(SILENT_S - 0.1)
    schedulers.health.check()
    before = healthy(schedulers)
    schedulers.world.advance(0.2)
    schedulers.health.check()

    assert (before, healthy(schedulers)) == (NAMES, NAMES[1:])
    assert schedulers.pinged.count(NAMES[0]) == 1


def test_a_late_answer_to_a_ping_makes_a_scheduler_healthy_again(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    schedulers.health.check()
    schedulers.world.advance(10)
    schedulers.health.check()
    schedulers.hung = set()

    schedulers.health.check()

    assert healthy(schedulers) == NAMES


def test_an_answer_to_any_request_makes_a_scheduler_healthy(schedulers: FakeSchedulers) -> None:
    schedulers.health.note_disconnect(NAMES[0])

    schedulers.health.note_answer(NAMES[0])

    assert healthy(schedulers) == NAMES


@pytest.mark.parametrize(("code", "is_healthy"), [("database_unavailable", True), ("internal_error", False)])
def test_a_refusal_is_healthy_only_if_the_database_causes_it(schedulers: FakeSchedulers, code: str, is_healthy: bool) -> None:
    class Refusing(FakeSchedulers):
        def answer(self, name: str, request: Message) -> Message:
            return Refused(code=code, message="", retry_after_s=1)

    schedulers = Refusing()

    schedulers.health.check()

    assert (healthy(schedulers) == NAMES) == is_healthy


def test_the_health_check_thread_survives_an_error() -> None:
    class Call:
        def wait(self, timeout_s: float) -> Message:
            return Json(body=b"{}")

    class Caller:
        def begin(self, name: str, request: Message) -> Call:
            return Call()

    faults = [OSError(24, "Too many open files")]
    listed: list[int] = []

    def names() -> list[str]:
        listed.append(1)
        if faults:
            raise faults.pop()
        return NAMES

    health = Health(Caller(), schedulers=names, world=World(), log=a_log())  # type: ignore[arg-type]
    health.note_disconnect(NAMES[0])

    threading.Thread(target=health.run, daemon=True).start()

    wait_for(lambda: len(listed) > 1 and health.is_healthy(NAMES[0]), told="a check after the fault")
