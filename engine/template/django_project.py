"""What a Django project needs around its tasks: set up before they are imported, no connection shared or left stale by a job.

It is one if DJANGO_SETTINGS_MODULE is set and Django is installed where the tasks run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec

from jobyard.engine.tasks.hooks import around_job

ALL_APPS = "django:"
"""The entry of TASKS that stands for the `tasks.py` of all installed apps."""


class NoProject(Exception):
    """`TASKS=django:` where there is no project to look into."""


def set_up(settings: str | None) -> bool:
    """Set up the project of this settings module; False when there is none. Raises what its settings and apps raise."""
    if not settings or find_spec("django") is None:
        return False
    importlib.import_module("django").setup()
    around_job(_without_stale_connections)
    return True


def modules_with_tasks(modules: list[str], *, settings: str | None) -> list[str]:
    """The modules to import, with those that `ALL_APPS` stands for in its place; raises `NoProject`. After `set_up`."""
    if ALL_APPS not in modules:
        return modules
    if not settings:
        raise NoProject(f"TASKS={ALL_APPS} needs DJANGO_SETTINGS_MODULE, such as shop.settings")
    if find_spec("django") is None:
        raise NoProject(f"TASKS={ALL_APPS} needs Django, which is not installed for the Python that runs the tasks (TASK_PYTHON)")
    found = _modules_of_installed_apps()
    if not found:
        raise NoProject(f"TASKS={ALL_APPS} finds no app with a module tasks; name the modules instead, such as TASKS=shop.jobs")
    return [each for name in modules for each in (found if name == ALL_APPS else [name])]


def close_connections() -> None:
    """Those that were opened while the modules were imported: each executor makes its own."""
    importlib.import_module("django.db").connections.close_all()


def _modules_of_installed_apps() -> list[str]:
    apps = importlib.import_module("django.apps").apps
    has_submodule = importlib.import_module("django.utils.module_loading").module_has_submodule
    return [f"{config.name}.tasks" for config in apps.get_app_configs() if has_submodule(config.module, "tasks")]


def _without_stale_connections() -> Iterator[None]:
    """As Django does around a request: broken and old connections are closed, queries that DEBUG has kept are forgotten."""
    database = importlib.import_module("django.db")
    database.reset_queries()
    database.close_old_connections()
    try:
        yield
    finally:
        database.close_old_connections()
