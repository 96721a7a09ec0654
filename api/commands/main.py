"""Runs one of the commands with the environment of its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobyard.api.commands.connection import CommandEnvironment
from jobyard.api.commands.root import NAME, commands


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command; never returns normally, since click ends the process with the exit status."""
    commands(list(words), prog_name=NAME, obj=CommandEnvironment(environment=environment))
    return 0
