"""The interpreter that runs tasks, and the error messages about an unsuitable one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.template.launch import entry_folder, find_python


def a_python(folder: Path, version: str) -> Path:
    path = folder / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o700)
    return path


def test_the_default_is_the_current_interpreter() -> None:
    assert find_python(None, {}) == sys.executable


def test_an_active_virtual_environment_is_used_without_resolving_its_link(tmp_path: Path) -> None:
    linked = a_python(tmp_path / "real", "3 12")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(linked)

    assert find_python(None, {"VIRTUAL_ENV": str(tmp_path / "venv")}) == str(tmp_path / "venv" / "bin" / "python")


def test_task_python_takes_precedence(tmp_path: Path) -> None:
    asked = str(a_python(tmp_path, "3 13"))

    assert find_python(asked, {"VIRTUAL_ENV": "/nowhere"}) == asked


@pytest.mark.parametrize(
    ("version", "words"), [("3 10", "is Python 3.10, and tasks need 3.11 or later"), ("hello", "is not a Python interpreter")]
)
def test_an_old_version_or_another_program_is_refused_in_one_line(tmp_path: Path, version: str, words: str) -> None:
    with pytest.raises(CannotStart) as told:
        find_python(str(a_python(tmp_path, version)), {})

    assert words in told.value.message and "set TASK_PYTHON" in told.value.message and "\n" not in told.value.message


def test_a_missing_interpreter_is_refused_in_one_line() -> None:
    with pytest.raises(CannotStart, match="TASK_PYTHON /no/python cannot be run"):
        find_python("/no/python", {})
    with pytest.raises(CannotStart, match="active virtual environment, /gone/bin/python, cannot be run"):
        find_python(None, {"VIRTUAL_ENV": "/gone"})


def test_an_installed_package_is_reached_through_a_link(tmp_path: Path) -> None:
    installed, alone, run = (tmp_path / name for name in ("site-packages", "src", "run"))
    for folder in (installed / "jobyard", installed / "flask", alone / "jobyard", run):
        folder.mkdir(parents=True)

    entry = Path(entry_folder(installed / "jobyard", run))

    assert [path.name for path in entry.iterdir()] == ["jobyard"] and (entry / "jobyard").samefile(installed / "jobyard")
    assert entry_folder(alone / "jobyard", run) == str(alone)
    assert entry_folder(installed / "jobyard", run) == str(entry)
