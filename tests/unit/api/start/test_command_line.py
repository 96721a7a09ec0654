"""The command line of bin/start-all, bin/start and bin/stop-all."""

from __future__ import annotations

import pytest

from jobyard.api.start.command_line import help_text, read_command_line
from jobyard.engine.config import SETTINGS
from jobyard.engine.errors import CannotStart


def test_the_value_of_a_flag_follows_a_space_or_an_equals_sign() -> None:
    command = read_command_line(["start-all", "--poll-s", "0.5", "--tasks=myapp.tasks"])

    assert command.name == "start-all"
    assert command.flags == {"POLL_S": "0.5", "TASKS": "myapp.tasks"}


def test_start_takes_a_role_and_a_port() -> None:
    command = read_command_line(["start", "worker", "--port", "7002"])

    assert (command.role, command.flags) == ("worker", {"PORT": "7002"})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the first argument must be one of start-all, start, stop-all"),
        (["begin"], "the first argument must be one of start-all, start, stop-all"),
        (["start-all", "--pol-s", "1"], "unknown argument '--pol-s'; see bin/start-all --help"),
        (["start-all", "now"], "unknown argument 'now'; see bin/start-all --help"),
        (["start-all", "--port", "1"], "unknown argument '--port'; see bin/start-all --help"),
        (["start-all", "--poll-s"], "--poll-s needs a value; see bin/start-all --help"),
        (["start"], "bin/start expects one of gateway, scheduler, watcher, queue, worker, not ''; see bin/start --help"),
        (["start", "web"], "bin/start expects one of gateway, scheduler, watcher, queue, worker, not 'web'; see bin/start --help"),
    ],
)
def test_a_wrong_argument_is_one_line_that_refers_to_the_help(words: list[str], told: str) -> None:
    with pytest.raises(CannotStart) as refused:
        read_command_line(words)

    assert refused.value.message == told


@pytest.mark.parametrize("name", ["start-all", "start", "stop-all"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_both_help_flags_list_every_setting(name: str, flag: str) -> None:
    command = read_command_line([name, flag])

    text = help_text(name)

    assert command.wants_help
    assert all(setting.name in text and setting.flag in text for setting in SETTINGS)
