"""Where the user's modules are found; in a Python of its own, because `sys.path` is changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobyard.engine.checkout import checkout

ENTRY = str(checkout() / "src")  # type: ignore[operator]
NAMES = ("api", "app", "engine", "queue", "tests")


def found(folders: list[Path]) -> dict[str, str]:
    """Where these folders lead to, by the name of a package."""
    program = f"""
import sys
sys.path.insert(0, {ENTRY!r})
from jobyard.engine.template.user_path import use_folders
from importlib.util import find_spec
use_folders({list(map(str, folders))!r}, checkout={str(checkout())!r})
for name in {NAMES + ("jobyard", "mytasks")!r}:
    spec = find_spec(name)
    print(name, spec.origin if spec else "-")
"""
    told = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in told.splitlines())


def test_a_project_has_its_own_packages_whatever_they_are_called(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()

    told = found([tmp_path])

    assert [told[name] for name in NAMES] == [str(tmp_path / name / "__init__.py") for name in NAMES]
    assert told["jobyard"].startswith(ENTRY)


def test_our_checkout_as_the_working_folder_shows_nothing_of_ours() -> None:
    told = found([Path(str(checkout()))])

    assert (told["engine"], told["api"], told["tests"], told["app"]) == ("-", "-", "-", "-")
    assert told["jobyard"].startswith(ENTRY) and "lib" in told["queue"]


def test_the_first_folder_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mytasks.py").touch()

    assert found([tmp_path / "two", tmp_path / "one"])["mytasks"] == str(tmp_path / "two" / "mytasks.py")
