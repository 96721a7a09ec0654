"""What all commands have in common: the version, and what a plain install says of a command that needs more."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from jobyard.api.commands.root import COMMAND_FUNCTIONS, Commands, unavailable_command
from jobyard.engine.version import version
from tests.unit.api.commands.conftest import FakeService


def test_the_version_is_printed(service: FakeService) -> None:
    assert service.run("--version").output == f"jobyard {version()}\n"


def test_a_command_that_is_not_installed_says_what_to_install_whatever_follows_it() -> None:
    command = unavailable_command("doctor", "this needs psutil: pip install 'jobyard[server]'")

    for words in ([], ["--json"], ["--help"], ["more", "-x"]):
        ended = CliRunner().invoke(command, words)
        assert ended.exit_code == 2 and ended.output == "jobyard: this needs psutil: pip install 'jobyard[server]'\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("doctor --version", "no such option '--version'"),
        ("shw", "no such command 'shw'"),
        ("--jason list", "no such option '--jason'"),
        ("show", "missing argument 'JOB_ID'; see jobyard show --help"),
        ("show a b", "got unexpected extra argument (b); see jobyard show --help"),
        ("list --limit many", "invalid value for '--limit': 'many' is not a valid integer"),
        ("completion ksh", "'ksh' is not one of 'bash', 'zsh', 'fish'; see jobyard completion --help"),
        ("cancel", "name the jobs to cancel, or select them by"),
        ("schedule put x --every-s", "option '--every-s' requires an argument"),
        ("list --url nowhere", "url must be like http://127.0.0.1:8080"),
    ],
)
def test_incorrect_usage_is_told_in_one_line(service: FakeService, words: str, message: str) -> None:
    ended = service.run(*words.split())

    assert (ended.exit_code, ended.output.count("\n")) == (2, 1), ended.output
    assert ended.output.startswith("jobyard: ") and message in re.sub(r"option: (-\S+)", r"option '\1'", ended.output)


def test_the_name_of_a_setting_stays_as_it_is(service: FakeService) -> None:
    service.environment["PORT_OFFSET"] = "x"

    assert service.run("stats").output == (
        "jobyard: PORT_OFFSET must be a whole number from 0 to 50000, not 'x'; see jobyard stats --help\n"
    )  # fmt: skip


def test_without_a_command_the_help_is_shown(service: FakeService) -> None:
    assert "Exit status: 0 success" in service.run().output


def test_every_command_can_be_loaded() -> None:
    context = click.Context(Commands("jobyard"))

    loaded = [Commands("jobyard").get_command(context, name) for name in COMMAND_FUNCTIONS]

    assert [command.name for command in loaded if command is not None] == list(COMMAND_FUNCTIONS)
