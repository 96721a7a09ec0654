"""Which Python runs tasks, and what a person is told of one that cannot."""

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


def test_without_a_word_it_is_our_own() -> None:
    assert find_python(None, {}) == sys.executable


def test_it_is_that_of_the_active_virtual_environment_and_its_link_is_not_resolved(tmp_path: Path) -> None:
    linked = a_python(tmp_path / "real", "3 12")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(linked)

    assert find_python(None, {"VIRTUAL_ENV": str(tmp_path / "venv")}) == str(tmp_path / "venv" / "bin" / "python")


def test_what_was_asked_for_wins(tmp_path: Path) -> None:
    asked = str(a_python(tmp_path, "3 13"))

    assert find_python(asked, {"VIRTUAL_ENV": "/nowhere"}) == asked


@pytest.mark.parametrize(
    ("version", "words"), [("3 10", "is Python 3.10, and tasks need 3.11 or later"), ("hello", "is no Python interpreter")]
)
def test_one_that_is_too_old_or_none_at_all_is_one_clear_line(tmp_path: Path, version: str, words: str) -> None:
    with pytest.raises(CannotStart) as told:
        find_python(str(a_python(tmp_path, version)), {})

    assert words in told.value.message and "set TASK_PYTHON" in told.value.message and "\n" not in told.value.message


def test_one_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(CannotStart, match="TASK_PYTHON /no/python cannot be run"):
        find_python("/no/python", {})
    with pytest.raises(CannotStart, match="active virtual environment, /gone/bin/python, cannot be run"):
        find_python(None, {"VIRTUAL_ENV": "/gone"})


def test_a_package_that_lies_among_others_is_reached_by_a_link(tmp_path: Path) -> None:
    installed, alone, run = (tmp_path / name for name in ("site-packages", "src", "run"))
    for folder in (installed / "jobyard", installed / "flask", alone / "jobyard", run):
        folder.mkdir(parents=True)

    entry = Path(entry_folder(installed / "jobyard", run))

    assert [path.name for path in entry.iterdir()] == ["jobyard"] and (entry / "jobyard").samefile(installed / "jobyard")
    assert entry_folder(alone / "jobyard", run) == str(alone)
    assert entry_folder(installed / "jobyard", run) == str(entry)
