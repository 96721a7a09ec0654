"""docs/command-line.md and the commands themselves tell the same."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from api.commands import exits
from api.commands.root import main

PAGE = (Path(__file__).resolve().parents[3] / "docs/command-line.md").read_text("utf-8")
SHARED = {"--json", "--url", "--token-file"}


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_is_on_the_page(name: str) -> None:
    options = {word for parameter in main.commands[name].params if isinstance(parameter, click.Option) and not parameter.hidden
               for word in parameter.opts if word.startswith("--")}  # fmt: skip

    missing = [word for word in sorted(options) if not re.search(rf"`{word}\b|{word}`|{word} ", PAGE)]

    assert re.search(rf"`{name}\b", PAGE) and missing == []


def test_no_option_on_the_page_is_made_up() -> None:
    known = {word for command in main.commands.values() for parameter in command.params for word in parameter.opts}

    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) - known == {"--help"}


def test_every_exit_status_is_on_the_page() -> None:
    statuses = {value for name, value in vars(exits).items() if name.isupper()}

    assert {int(text) for text in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == statuses


def test_every_command_says_what_it_does_and_which_service() -> None:
    for name, command in main.commands.items():
        assert command.get_short_help_str() and command.help, name
        asks = name not in ("backup", "migrate", "completion")
        assert asks == (SHARED <= {word for parameter in command.params for word in parameter.opts}), name
