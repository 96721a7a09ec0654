"""docs/command-line.md agrees with the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jobyard.api.commands import exits
from jobyard.api.commands.root import COMMAND_FUNCTIONS, commands

PAGE = (Path(__file__).resolve().parents[4] / "docs/command-line.md").read_text("utf-8")
COMMANDS = {name: command for name in COMMAND_FUNCTIONS if (command := commands.get_command(click.Context(commands), name))}
GROUPS = {name: command for name, command in COMMANDS.items() if isinstance(command, click.Group)}
ALONE = [command for name, command in COMMANDS.items() if name not in GROUPS]
ALL = [*ALONE, *(command for group in GROUPS.values() for command in group.commands.values())]
SHARED = {"--json", "--url", "--token-file"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_on_the_page(name: str) -> None:
    command = COMMANDS[name]
    parts = [command, *command.commands.values()] if isinstance(command, click.Group) else [command]
    options = {word for part in parts for parameter in part.params if isinstance(parameter, click.Option) and not parameter.hidden
               for word in parameter.opts if word.startswith("--")}  # fmt: skip

    missing = [word for word in sorted(options) if not re.search(rf"`{word}\b|{word}`|{word} ", PAGE)]

    assert re.search(rf"`{name}\b", PAGE) and missing == []


def test_every_option_on_the_page_exists() -> None:
    known = {word for command in ALL for parameter in command.params for word in parameter.opts}

    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - known == {"--help"}


def test_a_command_imports_no_database_that_it_does_not_need() -> None:
    code = "import sys, click; from jobyard.api.commands.root import commands as c; c.get_command(click.Context(c), 'list')"

    words = [sys.executable, "-c", f"{code}; print(*sys.modules)"]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()

    assert "httpx" in loaded and {"pymongo", "psutil", "flask", "gunicorn"}.isdisjoint(loaded)


def test_every_exit_status_is_on_the_page() -> None:
    statuses = {value for name, value in vars(exits).items() if name.isupper()}

    assert {int(text) for text in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == statuses


def test_every_command_has_help_and_takes_the_service_options() -> None:
    for command in ALL:
        name = command.name
        assert command.get_short_help_str() and command.help, name
        asks = name not in ("backup", "migrate", "completion", "restart", "drain", "log-level", "reload")
        assert asks == (SHARED <= {word for parameter in command.params for word in parameter.opts}), name
