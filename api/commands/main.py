"""Runs one of the commands with the environment that it was called in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobyard.api.commands.connection import ChildEnvironment
from jobyard.api.commands.root import NAME, commands


def main(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Never returns normally: click ends the process with the exit status."""
    commands(list(words), prog_name=NAME, obj=ChildEnvironment(environment=environment))
    return 0
