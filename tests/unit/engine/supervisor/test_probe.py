"""Questions answered by a child; the children are real."""

from __future__ import annotations

import os
import signal

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.supervisor.probe import Probe
from jobyard.engine.world import World


def test_what_the_child_says_comes_back() -> None:
    assert Probe(World(), "the database", lambda: "SQLite 3.53.4").finish() == "SQLite 3.53.4"


def test_why_it_cannot_comes_back_as_the_fault() -> None:
    def ask() -> str:
        raise CannotStart("TASKS: no module named nowhere")

    with pytest.raises(CannotStart, match="^TASKS: no module named nowhere$"):
        Probe(World(), "TASKS", ask).finish()


def test_what_nobody_expected_comes_back_in_one_line_too() -> None:
    def ask() -> str:
        raise IsADirectoryError(21, "Is a directory", "jobyard.sqlite")

    with pytest.raises(CannotStart, match=r"^the database: IsADirectoryError: \[Errno 21\] Is a directory: 'jobyard.sqlite'$"):
        Probe(World(), "the database", ask).finish()


def test_a_child_that_dies_is_told_with_what_it_was_asked() -> None:
    def ask() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    with pytest.raises(CannotStart, match="^the database: its process ended with signal 9 .SIGKILL.$"):
        Probe(World(), "the database", ask).finish()


def test_a_child_that_never_answers_is_ended() -> None:
    probe = Probe(World(), "TASKS", lambda: str(signal.pause()))

    with pytest.raises(CannotStart, match="^TASKS: no answer within 0.05 s$"):
        probe.finish(timeout_s=0.05)


def test_several_probes_answer_side_by_side() -> None:
    probes = [Probe(World(), "one", lambda number=number: str(number)) for number in range(3)]

    assert [probe.finish() for probe in probes] == ["0", "1", "2"]
