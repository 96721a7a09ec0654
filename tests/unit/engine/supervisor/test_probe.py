"""Checks run in a child process; the children are real."""

from __future__ import annotations

import os
import signal

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.supervisor.probe import Probe
from jobyard.engine.world import World


def test_the_result_of_the_check_is_returned() -> None:
    assert Probe(World(), "the database", lambda: "SQLite 3.53.4").finish() == "SQLite 3.53.4"


def test_a_failed_check_raises_its_message() -> None:
    def ask() -> str:
        raise CannotStart("TASKS: no module named nowhere")

    with pytest.raises(CannotStart, match="^TASKS: no module named nowhere$"):
        Probe(World(), "TASKS", ask).finish()


def test_an_unexpected_exception_becomes_one_line() -> None:
    def ask() -> str:
        raise IsADirectoryError(21, "Is a directory", "jobyard.sqlite")

    with pytest.raises(CannotStart, match=r"^the database: IsADirectoryError: \[Errno 21\] Is a directory: 'jobyard.sqlite'$"):
        Probe(World(), "the database", ask).finish()


def test_the_death_of_the_child_is_reported_with_the_subject() -> None:
    def ask() -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    with pytest.raises(CannotStart, match="^the database: its process ended with signal 9 .SIGKILL.$"):
        Probe(World(), "the database", ask).finish()


def test_a_child_that_does_not_reply_in_time_is_killed() -> None:
    probe = Probe(World(), "TASKS", lambda: str(signal.pause()))

    with pytest.raises(CannotStart, match="^TASKS: no answer within 0.05 s$"):
        probe.finish(timeout_s=0.05)


def test_probes_run_concurrently() -> None:
    probes = [Probe(World(), "one", lambda number=number: str(number)) for number in range(3)]

    assert [probe.finish() for probe in probes] == ["0", "1", "2"]
