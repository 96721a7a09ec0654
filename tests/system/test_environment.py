"""`bin/environment` in a copy of the checkout that requires no packages, so that it needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.system import CHECKOUT


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without an environment, in a folder whose name has a space."""
    checkout = tmp_path_factory.mktemp("a copy")
    shutil.copytree(CHECKOUT / "bin", checkout / "bin")
    (checkout / "setup.cfg").write_text("[options]\ninstall_requires =\n[options.extras_require]\ntest =\n")
    (checkout / "pyproject.toml").touch()
    return checkout


def begin(command: Path, *words: str, path: str | None = None) -> subprocess.Popen[str]:
    environment = {"PATH": path or os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.Popen([command, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def run(command: Path, *words: str, path: str | None = None) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    process = begin(command, *words, path=path)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output.strip(), errors.strip()


def without_python(folder: Path) -> str:
    """A PATH with everything but Python."""
    tools = folder / "tools"
    tools.mkdir()
    for place in ("/usr/local/bin", "/usr/bin", "/bin"):
        for tool in Path(place).glob("*"):
            if not tool.name.startswith("python") and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    return str(tools)


def test_two_concurrent_first_uses_create_one_environment(copy: Path, tmp_path: Path) -> None:
    by_another_name = tmp_path / "environment"
    by_another_name.symlink_to(copy / "bin" / "environment")

    both = [begin(copy / "bin" / "environment"), begin(by_another_name)]
    results = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert {output.strip() for output, _ in results} == {str(copy / ".venv" / "bin" / "python")}
    assert sum("making the environment" in errors for _, errors in results) == 1


def test_an_up_to_date_environment_is_used_silently_without_another_python(copy: Path, tmp_path: Path) -> None:
    run(copy / "bin" / "environment")

    assert run(copy / "bin" / "environment", path=without_python(tmp_path)) == (0, str(copy / ".venv" / "bin" / "python"), "")


def test_a_changed_setup_updates_the_environment(copy: Path) -> None:
    run(copy / "bin" / "environment")
    with (copy / "setup.cfg").open("a") as setup:
        setup.write("# changed\n")

    _, _, first = run(copy / "bin" / "environment")
    _, _, second = run(copy / "bin" / "environment")

    assert ("making" in first, "making" in second) == (True, False)


def test_a_broken_environment_is_recreated(copy: Path) -> None:
    run(copy / "bin" / "environment")
    python = copy / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")

    status, output, _ = run(copy / "bin" / "environment")

    assert (status, output) == (0, str(python))
    assert subprocess.run([python, "-c", "import pip"], check=False).returncode == 0


def test_a_missing_python_is_reported(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / ".venv", ignore_errors=True)

    status, _, errors = run(copy / "bin" / "environment", path=without_python(tmp_path))

    assert status == 2
    assert "needs Python 3.11 or later on PATH; found none" in errors
