"""The supervisor's side of starting a template: choosing the interpreter, the path entry, and the exec."""

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
from jobyard.engine.stop_requests import Wait, wait_readable
from jobyard.engine.template.options import Options

MINIMUM_VERSION = (3, 11)
VERSION_TIMEOUT_S = 60.0
MAX_VERSION_BYTES = 100
PRINT_VERSION = "import sys; print(*sys.version_info[:2])"
REMEDY = "set TASK_PYTHON to the interpreter that has your tasks' packages"


def find_python(asked: str | None, environment: Mapping[str, str], *, wait: Wait = wait_readable) -> str:
    """`TASK_PYTHON`, else the interpreter of the active virtual environment, else Jobyard's own.

    A symbolic link is not resolved, because Python identifies a virtual environment by the location of the link. Raises
    `CannotStart` if the interpreter cannot run tasks.
    """
    if asked:
        return _checked(asked, f"TASK_PYTHON {asked}", wait)
    if folder := environment.get("VIRTUAL_ENV"):
        python = os.path.join(folder, "bin", "python")
        return _checked(python, f"the Python of the active virtual environment, {python},", wait)
    return sys.executable


def _checked(python: str, what: str, wait: Wait) -> str:
    if python == sys.executable:
        return python
    try:
        returncode, version = _version_of(python, wait)
    except (OSError, ValueError) as fault:
        raise CannotStart(f"{what} cannot be run ({getattr(fault, 'strerror', None) or fault}): {REMEDY}") from fault
    if returncode is None:
        raise CannotStart(f"{what} does not report its version within {VERSION_TIMEOUT_S:g} s: {REMEDY}")
    if returncode or len(version) != 2 or not all(part.isdigit() for part in version):
        raise CannotStart(f"{what} is not a Python interpreter: {REMEDY}")
    if (int(version[0]), int(version[1])) < MINIMUM_VERSION:
        raise CannotStart(f"{what} is Python {'.'.join(version)}, and tasks need 3.11 or later: {REMEDY}")
    return python


def _version_of(python: str, wait: Wait) -> tuple[int | None, list[str]]:
    """The exit status of the interpreter (None after the timeout), and the parts of its version."""
    with subprocess.Popen(
        [python, "-I", "-c", PRINT_VERSION], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        text = b""
        try:
            while len(text) < MAX_VERSION_BYTES and wait(process.stdout.fileno(), VERSION_TIMEOUT_S):
                data = os.read(process.stdout.fileno(), MAX_VERSION_BYTES)
                if not data:
                    return process.wait(), text.decode("utf-8", "replace").split()
                text += data
            return (None, []) if len(text) < MAX_VERSION_BYTES else (0, [])
        finally:
            process.kill()


def entry_folder(package: Path, run: Path) -> str:
    """A folder that holds only `jobyard`: its parent folder in a checkout, otherwise a folder below `run` with a link to it."""
    names = {path.name for path in package.parent.iterdir() if not path.name.endswith((".egg-info", ".dist-info", "__pycache__"))}
    if names == {package.name}:
        return str(package.parent)
    folder = run / "path"
    folder.mkdir(mode=0o700, exist_ok=True)
    link = folder / package.name
    if not link.is_symlink() or os.readlink(link) != str(package):
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return str(folder)


def boot_file(entry: str) -> str:
    """The path of the script that `TASK_PYTHON -P` executes."""
    return os.path.join(entry, "jobyard", "engine", "template", "boot.py")


def execute(python: str, entry: str, options: Options, *, output: int, environment: Mapping[str, str]) -> NoReturn:
    """Replace this fork of the supervisor by the template, with stdout and stderr connected to `output`. Raises `OSError`."""
    die_with_parent(options.supervisor)
    devnull = os.open(os.devnull, os.O_RDONLY)
    for fd, to in ((devnull, 0), (output, 1), (output, 2)):
        os.dup2(fd, to)
    for fd in (options.supervisor_line, options.listener, *options.closed_in_children):
        os.set_inheritable(fd, True)
    public = {name: value for name, value in environment.items() if name not in SECRET}
    os.execve(python, [python, "-P", boot_file(entry), entry, options.to_text()], public)
