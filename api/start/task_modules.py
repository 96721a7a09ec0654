"""The tasks of a start: the built-in ones and the user's modules, loaded where they are executed, listed where they are checked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from jobyard.engine.config import Settings
from jobyard.engine.tasks.builtin import register_builtin
from jobyard.engine.tasks.catalog import Catalog, write_catalog
from jobyard.engine.tasks.registry import Registry, load
from jobyard.engine.wire.run_dir import RunDir

MODULES_S = 120.0
"""The longest that a start waits for the modules to be imported."""


def find_tasks_where_the_user_is(environment: Mapping[str, str]) -> None:
    """`bin/…` run Python isolated, so that nothing of the user's shadows a module of ours; behind ours, theirs are found."""
    for folder in (*environment.get("PYTHONPATH", "").split(os.pathsep), os.getcwd()):
        if folder and folder not in sys.path:
            sys.path.append(folder)


def first_sign_s(settings: Settings) -> float:
    """How long a worker may take to begin: all of them import the same modules at once, perhaps on one processor."""
    return (1 + settings.workers) * MODULES_S


def load_tasks(settings: Settings) -> Registry:
    """Import them into this process; raises `CannotStart`."""
    register_builtin(enable_shell=settings.enable_shell, http_allow_private=settings.http_allow_private)
    return load(settings.tasks)


def list_tasks(settings: Settings, run_dir: RunDir, *, for_workers: bool) -> str:
    """Write down for the schedulers what the workers will know; how many that are, in words.

    A start without workers leaves the list to those who have them, but makes sure that there is one.
    """
    options = load_tasks(settings).options()
    if for_workers or not Catalog(run_dir).options():
        write_catalog(run_dir, options)
    return f"{len(options)} tasks"
