"""`python -m jobyard` and the console script `jobyard`: starting and stopping, or one of the commands."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

STARTING = ("start-all", "start", "stop-all")


def run(words: Sequence[str] | None = None) -> int:
    """Do what the words say; the exit status. What a word does not need is not loaded."""
    given = list(sys.argv[1:] if words is None else words)
    forget_working_folder(sys.path)
    if given[:1] and given[0] in STARTING:
        return int(importlib.import_module("jobyard.api.start.main").main(given, os.environ))
    return int(importlib.import_module("jobyard.api.commands.main").main(given, os.environ))


def forget_working_folder(path: list[str]) -> None:
    """Undo what `python -m` does: no file of the working folder may shadow a module that a process of Jobyard's imports."""
    with contextlib.suppress(FileNotFoundError):  # the folder itself may be gone
        if path and path[0] in ("", os.getcwd()):
            del path[0]


if __name__ == "__main__":
    sys.exit(run())
