"""The words after bin/start-all, bin/start and bin/stop-all."""

from __future__ import annotations

import pytest

from jobyard.api.start.command_line import help_text, read_command_line
from jobyard.engine.config import SETTINGS
from jobyard.engine.errors import CannotStart


def test_flags_are_settings_with_their_value_behind_a_space_or_an_equals_sign() -> None:
    command = read_command_line(["start-all", "--poll-s", "0.5", "--tasks=myapp.tasks"])

    assert command.name == "start-all"
    assert command.flags == {"POLL_S": "0.5", "TASKS": "myapp.tasks"}


def test_start_takes_a_role_and_a_port() -> None:
    command = read_command_line(["start", "worker", "--port", "7002"])

    assert (command.role, command.flags) == ("worker", {"PORT": "7002"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the first word must be one of start-all, start, stop-all"),
        (["begin"], "the first word must be one of start-all, start, stop-all"),
        (["start-all", "--pol-s", "1"], "unknown word '--pol-s'; see bin/start-all --help"),
        (["start-all", "now"], "unknown word 'now'; see bin/start-all --help"),
        (["start-all", "--port", "1"], "unknown word '--port'; see bin/start-all --help"),
        (["start-all", "--poll-s"], "--poll-s wants a value; see bin/start-all --help"),
        (["start"], "bin/start wants one of gateway, scheduler, watcher, queue, worker, not ''; see bin/start --help"),
        (["start", "cook"], "bin/start wants one of gateway, scheduler, watcher, queue, worker, not 'cook'; see bin/start --help"),
    ],
)
def test_a_wrong_word_is_told_in_one_line_that_says_where_to_look(words: list[str], told: str) -> None:
    with pytest.raises(CannotStart) as refused:
        read_command_line(words)

    assert refused.value.message == told


@pytest.mark.parametrize("name", ["start-all", "start", "stop-all"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_asked_for_in_two_ways_and_lists_every_setting(name: str, flag: str) -> None:
    command = read_command_line([name, flag])

    text = help_text(name)

    assert command.wants_help
    assert all(setting.name in text and setting.flag in text for setting in SETTINGS)
