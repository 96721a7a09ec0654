"""What all commands have in common: the version, and what a plain install says of a command that needs more."""

from __future__ import annotations

import click
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
        assert ended.exit_code == 2 and ended.output.splitlines()[-1] == "Error: this needs psutil: pip install 'jobyard[server]'"


def test_every_command_can_be_loaded() -> None:
    context = click.Context(Commands("jobyard"))

    loaded = [Commands("jobyard").get_command(context, name) for name in COMMAND_FUNCTIONS]

    assert [command.name for command in loaded if command is not None] == list(COMMAND_FUNCTIONS)
