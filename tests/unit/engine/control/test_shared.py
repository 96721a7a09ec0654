"""The shared objects, without a process."""

from __future__ import annotations

import threading
from typing import Any

from jobyard.engine.control.shared import MOST_OUTCOMES, Commands, Counters, Overview, Roster
from jobyard.engine.world import World
from tests.support.waiting import LIMIT_S

COMMAND = {"id": "1", "verb": "restart", "argument": "worker-7001"}


def commands() -> Commands:
    return Commands(World().monotonic)


def test_each_supervisor_writes_its_own_part_of_the_roster() -> None:
    roster = Roster()
    roster.write("one", [{"name": "a"}])
    roster.write("two", [{"name": "b"}])
    roster.write("one", [{"name": "a2"}])
    all_rows = roster.read()

    roster.remove("two")

    assert (all_rows, roster.read()) == ([{"name": "a2"}, {"name": "b"}], [{"name": "a2"}])


def test_parts_that_did_not_change_stay_until_another_process_publishes() -> None:
    counters = Counters()
    counters.publish("w", 1, 1.0, {"latest": "a", "minutes": "m"})
    counters.publish("w", 1, 2.0, {"latest": "b"})
    same = counters.read(["latest", "minutes"])

    counters.publish("w", 2, 3.0, {"latest": "c"})

    assert same == {"w": {"pid": 1, "at": 2.0, "parts": {"latest": "b", "minutes": "m"}}}
    assert counters.read(["latest", "minutes"]) == {"w": {"pid": 2, "at": 3.0, "parts": {"latest": "c"}}}


def test_one_call_gives_roster_and_counters() -> None:
    roster, counters = Roster(), Counters()
    roster.write("s", [{"name": "w"}])
    counters.publish("w", 1, 1.0, {"latest": "a"})

    read = Overview(roster, counters).read(["minutes"])

    assert read == {"roster": [{"name": "w"}], "counters": {"w": {"pid": 1, "at": 1.0, "parts": {}}}}


def test_a_command_reaches_its_supervisor_and_its_outcome_the_caller() -> None:
    shared = commands()
    before = shared.outcome("1")
    shared.give("supervisor", COMMAND)
    given = shared.outcome("1")
    taken = shared.take("supervisor")
    under_way = shared.outcome("1")

    shared.settle("1", True, "it runs again")

    assert taken == COMMAND
    assert [one["state"] for one in (before, given, under_way)] == ["unknown", "given", "taken"]
    assert shared.outcome("1") == {"state": "done", "message": "it runs again"}


def test_a_waiting_supervisor_receives_a_command_at_once() -> None:
    shared, taken = commands(), []
    thread = threading.Thread(target=lambda: taken.append(shared.take("supervisor")))
    thread.start()

    shared.give("another", COMMAND | {"id": "2"})
    shared.give("supervisor", COMMAND)

    thread.join(LIMIT_S)
    assert taken == [COMMAND]


def test_a_second_take_ends_the_first() -> None:
    shared = commands()
    answers: dict[str, Any] = {}
    first = threading.Thread(target=lambda: answers.update(first=shared.take("supervisor")))
    first.start()
    second = threading.Thread(target=lambda: answers.update(second=shared.take("supervisor")))
    while "first" not in answers:
        if not second.ident:
            second.start()
        first.join(0.01)

    shared.give("supervisor", COMMAND)

    second.join(LIMIT_S)
    assert sorted(answers.values(), key=str) in ([None, COMMAND], [COMMAND, None])


def test_an_untaken_command_can_be_withdrawn() -> None:
    shared = commands()
    shared.give("supervisor", COMMAND)
    shared.give("supervisor", COMMAND | {"id": "2"})

    withdrawn = [shared.withdraw("supervisor", "1"), shared.withdraw("supervisor", "1")]

    assert withdrawn == [True, False]
    assert shared.take("supervisor") == COMMAND | {"id": "2"}


def test_outcomes_of_unknown_commands_are_stored_and_bounded() -> None:
    shared = commands()
    shared.settle("old", False, "why not")
    kept = shared.outcome("old")

    for number in range(MOST_OUTCOMES):
        shared.settle(str(number), True, "")

    assert kept == {"state": "failed", "message": "why not"}
    assert shared.outcome("old") == {"state": "unknown"}
