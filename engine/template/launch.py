"""The supervisor's side of a template: which Python executes it, its options, and the exec itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from jobyard.engine.config import SECRET
from jobyard.engine.errors import CannotStart
from jobyard.engine.process_control import die_with_parent
from jobyard.engine.template.options import Options

OLDEST = (3, 11)
ANSWER_S = 60.0
ASK_VERSION = "import sys; print(*sys.version_info[:2])"
REMEDY = "set TASK_PYTHON to the interpreter that has your tasks' packages"


def find_python(asked: str | None, environment: Mapping[str, str]) -> str:
    """`TASK_PYTHON`, else the active virtual environment's Python, else Jobyard's own. Symbolic links are not resolved, because a
    virtual environment is recognised by the location of its link. Raises `CannotStart` if it cannot run tasks."""
    if asked:
        return _checked(asked, f"TASK_PYTHON {asked}")
    if folder := environment.get("VIRTUAL_ENV"):
        python = os.path.join(folder, "bin", "python")
        return _checked(python, f"the Python of the active virtual environment, {python},")
    return sys.executable


def _checked(python: str, what: str) -> str:
    if python == sys.executable:
        return python
    try:
        asked = subprocess.run(
            [python, "-I", "-c", ASK_VERSION], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ANSWER_S,
            check=False,
        )  # fmt: skip
        words = asked.stdout.split()
    except (OSError, ValueError) as fault:
        raise CannotStart(f"{what} cannot be run ({getattr(fault, 'strerror', None) or fault}): {REMEDY}") from fault
    except subprocess.TimeoutExpired as fault:
        raise CannotStart(f"{what} does not say its version within {ANSWER_S:g} s: {REMEDY}") from fault
    if asked.returncode or len(words) != 2 or not all(word.isdigit() for word in words):
        raise CannotStart(f"{what} is no Python interpreter: {REMEDY}")
    if (int(words[0]), int(words[1])) < OLDEST:
        raise CannotStart(f"{what} is Python {'.'.join(words)}, and tasks need 3.11 or later: {REMEDY}")
    return python


def entry_folder(package: Path, run: Path) -> str:
    """A folder that contains only `jobyard`: `src` in a checkout, else a folder with a link to it in the data folder."""
    beside = {path.name for path in package.parent.iterdir() if not path.name.endswith((".egg-info", ".dist-info", "__pycache__"))}
    if beside == {package.name}:
        return str(package.parent)
    folder = run / "path"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / package.name
    if not link.is_symlink() or os.readlink(link) != str(package):
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return str(folder)


def boot_file(entry: str) -> str:
    """The arguments of the template's exec."""
    return os.path.join(entry, "jobyard", "engine", "template", "boot.py")


def execute(python: str, entry: str, options: Options, *, output: int, environment: Mapping[str, str]) -> NoReturn:
    """Exec the template, in a fork of the supervisor; what it prints goes to `output`. Raises `OSError`."""
    die_with_parent(options.supervisor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, to in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(fd, to)
    for fd in (options.supervisor_line, options.listener, *options.closed_in_children):
        os.set_inheritable(fd, True)
    theirs = {name: value for name, value in environment.items() if name not in SECRET}
    os.execve(python, [python, "-P", boot_file(entry), entry, options.to_text()], theirs)
