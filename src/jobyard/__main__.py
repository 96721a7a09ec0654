"""`python -m jobyard` and the console script `jobyard`: start and stop the system, or run one of the commands.

A plain install has the commands that talk to a running service; the others need the extra `server`, and say so in one line.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from jobyard.engine.extras import SERVER, how_to_add, missing_from
from jobyard.engine.version import version

STARTING = ("start-all", "start", "stop-all")
EXIT_USAGE = 2


def run(words: Sequence[str] | None = None) -> int:
    """Run the command given by the arguments; returns the exit status. Only modules that the command needs are imported."""
    given = list(sys.argv[1:] if words is None else words)
    open_standard_descriptors()
    forget_working_folder(sys.path)
    if given[:1] and given[0] in STARTING:
        return start_or_stop(given)
    return int(importlib.import_module("jobyard.api.commands.main").main(given, os.environ))


def start_or_stop(words: list[str]) -> int:
    """Run one of `STARTING`; returns the exit status."""
    if "--version" in words:
        print(f"jobyard {version()}")
        return 0
    if missing := missing_from(SERVER):
        print(f"jobyard {words[0]}: {how_to_add(SERVER, missing)}", file=sys.stderr)
        return EXIT_USAGE
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))  # until `main` can handle them
    return int(importlib.import_module("jobyard.api.start.main").main(words, os.environ))


def open_standard_descriptors() -> None:
    """Open /dev/null in place of every standard descriptor that is closed. Otherwise the next file to be opened would get its
    number, and whatever is meant for the terminal would be written into it."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, mode, closefd=False))


def forget_working_folder(path: list[str]) -> None:
    """Remove the entry that `python -m` adds: no file of the working folder may shadow a module that Jobyard imports."""
    with contextlib.suppress(FileNotFoundError):  # the folder was deleted
        if path and path[0] in ("", os.getcwd()):
            del path[0]


if __name__ == "__main__":
    sys.exit(run())
