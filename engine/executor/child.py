"""The main function of an executor process, from the template's fork to its exit status."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path

from jobyard.engine.executor.child_environment import ChildEnvironment
from jobyard.engine.executor.executor import EXIT_OK, Executor, ExecutorDescriptors
from jobyard.engine.executor.inherited import cut_tcp_connections
from jobyard.engine.executor.job_context import JobContext
from jobyard.engine.tasks.hooks import HOOKS
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.world import World


def run_executor(
    descriptors: ExecutorDescriptors, *, registry: Registry, world: World, parent: int, title: str, folder: str,
    log_level: str = "info",
) -> int:  # fmt: skip
    """Run jobs until the inbox is closed, and return the exit status. An exception ends the process with a traceback."""
    environment = ChildEnvironment(output=descriptors.output, world=world, folder=Path(folder))
    environment.set_up(parent=parent, title=title)
    cut_tcp_connections()
    show_logging(log_level)
    for function in HOOKS.starts:
        function()
    environment.finish_setup()
    executor = Executor(descriptors, registry=registry, world=world, environment=environment, context=JobContext())
    executor.run()
    for function in reversed(HOOKS.stops):
        function()
    atexit._run_exitfuncs()
    environment.close()
    return EXIT_OK


def show_logging(level: str) -> None:
    """Send log records of tasks at this level and above to stderr, unless the user's modules have configured `logging`.

    A task may still configure it: `logging` uses its last-resort handler only while there is no other.
    """
    if logging.lastResort is not None:
        logging.lastResort.setLevel(level.upper())
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.root.setLevel(level.upper())
