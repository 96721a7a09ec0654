"""What users import, and what they must not find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jobyard
from jobyard.__main__ import forget_working_folder
from tests.support.waiting import LIMIT_S


@pytest.mark.parametrize("name", jobyard.__all__)
def test_every_public_name_can_be_imported_from_the_package(name: str) -> None:
    assert getattr(jobyard, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'engine_room'"):
        jobyard.engine_room  # noqa: B018


@pytest.mark.parametrize("name", ["engine", "api", "tests"])
def test_our_folders_are_no_packages_of_their_own(name: str, tmp_path: Path) -> None:
    code = f"import jobyard, jobyard.api.start.main, importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"

    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=LIMIT_S).returncode == 0


def test_a_users_package_of_the_same_name_is_found(tmp_path: Path) -> None:
    for name in ("engine", "api", "tests", "app", "queue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'the user'")
    code = "import jobyard, engine, api, tests, app, queue; print(*{m.OWNER for m in (engine, api, tests, app, queue)})"

    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)

    assert told.stdout.strip() == "the user", told.stderr


def test_the_working_folder_shadows_no_module_of_ours() -> None:
    path = [os.getcwd(), "/somewhere"]

    forget_working_folder(path)

    assert path == ["/somewhere"]
