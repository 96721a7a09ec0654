"""Imports the modules named by `TASKS`, and produces warnings and error messages about them."""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType

from jobyard.engine.executor.traceback_text import traceback_text
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.template import django_project

MAX_TRACEBACK_CHARS = 8_000
OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
"""Where what calls the user's modules lies, and what they call."""


class NotImported(Exception):
    """A module of `TASKS` cannot be imported; `__cause__` is the exception that it raised."""


def import_all(modules: list[str], announce: Callable[[str], None], *, django_settings: str | None = None) -> list[str]:
    """Import the modules in order, reporting each before its import; returns warnings. Raises `NotImported`.

    A Django project is set up before the first.
    """
    try:
        is_django = bool(modules) and django_project.set_up(django_settings)
        modules = django_project.modules_with_tasks(modules, settings=django_settings)
    except django_project.NoProject as wrong:
        raise NotImported(str(wrong)) from wrong
    except BaseException as wrong:  # settings and apps are a user's modules, too
        raise NotImported(import_error(f"{django_settings} (DJANGO_SETTINGS_MODULE)", wrong, "Django:")) from wrong
    warnings = _import_each(modules, announce)
    if is_django:
        django_project.close_connections()
    return warnings


def _import_each(modules: list[str], announce: Callable[[str], None]) -> list[str]:
    warnings = []
    for name in modules:
        announce(name)
        known = set(DEFINED.options())
        try:
            module = importlib.import_module(name)
            DEFINED.check()
        except BaseException as wrong:  # a user's module may do anything, sys.exit() included
            raise NotImported(import_error(name, wrong)) from wrong
        if set(DEFINED.options()) <= known and not DEFINED.has_tasks_of(name):
            warnings.append(_without_tasks(name, module))
    return warnings


def import_error(module: str, wrong: BaseException, what: str = "TASKS: module") -> str:
    """The error message, one line: module, exception, file and line."""
    reason = str(wrong).split("\n")[0]
    place = ""
    steps = [step for step in traceback.extract_tb(_from_the_module_on(wrong.__traceback__)) if not step.filename.startswith(OURS)]
    if isinstance(wrong, SyntaxError) and wrong.filename:
        place = f" ({wrong.filename}, line {wrong.lineno})"
        reason = wrong.msg
    elif steps and not steps[-1].filename.startswith("<frozen"):
        place = f" ({steps[-1].filename}, line {steps[-1].lineno})"
    return f"{what} {module} cannot be imported: {type(wrong).__name__}: {reason}{place}{_where_looked_for(module, wrong)}"


def _where_looked_for(module: str, wrong: BaseException) -> str:
    """Of a module that was not found: where, since another interpreter or another folder may be meant."""
    if not isinstance(wrong, ModuleNotFoundError) or not wrong.name:
        return ""
    if f"{module}.".startswith(f"{wrong.name}."):
        return f"; looked for on PYTHONPATH and in {os.getcwd()}"
    return f"; tasks run on {sys.executable}: install it there, or set TASK_PYTHON to the Python that has it"


def traceback_of(wrong: BaseException) -> str:
    """The traceback from the user's first frame on, of a bounded length."""
    return traceback_text(wrong, _from_the_module_on(wrong.__traceback__), max_chars=MAX_TRACEBACK_CHARS).rstrip()


def files_of_the_user() -> list[str]:
    """The files of all imported modules except the standard library, installed packages and Jobyard."""
    foreign = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.partition(".")[0] != "jobyard"]
    return sorted({file for file in files if isinstance(file, str) and file.endswith(".py") and not file.startswith(foreign)})


def _without_tasks(name: str, module: ModuleType) -> str:
    if name.partition(".")[0] in sys.stdlib_module_names and "site-packages" not in str(getattr(module, "__file__", "")):
        return f"TASKS: {name} is a module of Python's standard library and defines no task"
    return f"TASKS: module {name} defines no task"


def _from_the_module_on(trace: TracebackType | None) -> TracebackType | None:
    """Skip the frames of the import system and of this module, which are of no use to the module's author."""
    step = trace
    while step is not None and _is_plumbing(step.tb_frame.f_code.co_filename):
        step = step.tb_next
    return step or trace


def _is_plumbing(file: str) -> bool:
    return file == __file__ or file == importlib.__file__ or file.startswith("<frozen importlib")
