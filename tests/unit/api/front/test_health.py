"""Who counts as well: one that is busy does, one that is gone or silent for seconds does not; the checks go on whatever happens."""

from __future__ import annotations

import threading

import pytest

from jobyard.api.front.health import Health
from jobyard.engine.wire.caller import SILENT_S
from jobyard.engine.wire.messages import Json, Message, Refused
from jobyard.engine.world import World
from tests.support.builders import a_log
from tests.support.schedulers import NAMES, FakeSchedulers
from tests.support.waiting import wait_for


@pytest.fixture
def schedulers() -> FakeSchedulers:
    return FakeSchedulers()


def well(schedulers: FakeSchedulers) -> list[str]:
    return [name for name in NAMES if schedulers.health.is_well(name)]


def test_one_that_is_gone_or_breaks_off_is_out_until_it_answers(schedulers: FakeSchedulers) -> None:
    schedulers.gone, schedulers.broken = {NAMES[0]}, {NAMES[1]}
    schedulers.health.check()
    first = well(schedulers)
    schedulers.gone, schedulers.broken = set(), set()
    schedulers.health.check()

    assert (first, well(schedulers)) == (NAMES[2:], NAMES)


def test_one_that_owes_an_answer_is_out_only_after_seconds_of_silence_and_owes_one_ping(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    schedulers.health.check()
    schedulers.world.advance(SILENT_S - 0.1)
    schedulers.health.check()
    before = well(schedulers)
    schedulers.world.advance(0.2)
    schedulers.health.check()

    assert (before, well(schedulers)) == (NAMES, NAMES[1:])
    assert schedulers.pinged.count(NAMES[0]) == 1


def test_one_that_answers_its_old_ping_is_well_again(schedulers: FakeSchedulers) -> None:
    schedulers.hung = {NAMES[0]}
    schedulers.health.check()
    schedulers.world.advance(10)
    schedulers.health.check()
    schedulers.hung = set()

    schedulers.health.check()

    assert well(schedulers) == NAMES


def test_one_that_answers_a_request_is_well(schedulers: FakeSchedulers) -> None:
    schedulers.health.note_gone(NAMES[0])

    schedulers.health.note_answer(NAMES[0])

    assert well(schedulers) == NAMES


@pytest.mark.parametrize(("code", "is_well"), [("database_unavailable", True), ("internal_error", False)])
def test_one_that_says_what_is_wrong_is_well_if_it_is_not_itself(schedulers: FakeSchedulers, code: str, is_well: bool) -> None:
    class Refusing(FakeSchedulers):
        def answer(self, name: str, request: Message) -> Message:
            return Refused(code=code, message="", retry_after_s=1)

    schedulers = Refusing()

    schedulers.health.check()

    assert (well(schedulers) == NAMES) == is_well


def test_the_thread_outlives_a_fault() -> None:
    class Call:
        def wait(self, timeout_s: float) -> Message:
            return Json(body=b"{}")

    class Caller:
        def begin(self, name: str, request: Message) -> Call:
            return Call()

    error_handlers = [OSError(24, "Too many open files")]
    listed: list[int] = []

    def names() -> list[str]:
        listed.append(1)
        if error_handlers:
            raise error_handlers.pop()
        return NAMES

    health = Health(Caller(), schedulers=names, world=World(), log=a_log())  # type: ignore[arg-type]
    health.note_gone(NAMES[0])

    threading.Thread(target=health.check_for_ever, daemon=True).start()

    wait_for(lambda: len(listed) > 1 and health.is_well(NAMES[0]), within_s=10, told="a check after the fault")
