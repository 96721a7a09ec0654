"""Finding the user's modules; run in a separate interpreter, because `sys.path` is changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobyard.engine.checkout import checkout

ENTRY = str(checkout() / "src")  # type: ignore[operator]
NAMES = ("api", "app", "engine", "queue", "tests")


def found(folders: list[Path]) -> dict[str, str]:
    """The location from which each package is imported, by name, with these folders on the path."""
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


def test_a_projects_packages_are_found_whatever_their_names(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()

    told = found([tmp_path])

    assert [told[name] for name in NAMES] == [str(tmp_path / name / "__init__.py") for name in NAMES]
    assert told["jobyard"].startswith(ENTRY)


def test_nothing_of_jobyard_is_imported_from_its_checkout() -> None:
    told = found([Path(str(checkout()))])

    assert (told["engine"], told["api"], told["tests"], told["app"]) == ("-", "-", "-", "-")
    assert told["jobyard"].startswith(ENTRY) and "lib" in told["queue"]


def test_the_first_folder_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mytasks.py").touch()

    assert found([tmp_path / "two", tmp_path / "one"])["mytasks"] == str(tmp_path / "two" / "mytasks.py")
