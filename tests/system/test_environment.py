"""`bin/environment` in a copy of the checkout that requires no packages, so that it needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.system import CHECKOUT
from tests.support.waiting import LIMIT_S


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without an environment, in a folder whose name has a space."""
    checkout = tmp_path_factory.mktemp("a copy")
    shutil.copytree(CHECKOUT / "bin", checkout / "bin")
    (checkout / "setup.cfg").write_text("[options]\ninstall_requires =\n[options.extras_require]\ntest =\n")
    (checkout / "pyproject.toml").touch()
    (checkout / "src").mkdir()
    (checkout / "src" / "found.py").touch()
    return checkout


def begin(command: Path, *words: str, path: str | None = None, **more: str) -> subprocess.Popen[str]:
    environment = {"PATH": path or os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | more
    return subprocess.Popen(
        [command, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="surrogateescape", cwd="/",
    )  # fmt: skip


def run(command: Path, *words: str, path: str | None = None, **more: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    process = begin(command, *words, path=path, **more)
    output, errors = process.communicate(timeout=LIMIT_S)
    return process.returncode, output.strip(), errors.strip()


def printable(text: str) -> str:
    """Without what cannot be encoded: such a message of a failed test would end the whole run."""
    return os.fsencode(text).decode(errors="backslashreplace")


def let_pass(folder: Path) -> None:
    """Let every user pass to this folder; those that hold other users' files stay as they are."""
    shared = Path(tempfile.gettempdir()).resolve()
    while folder.resolve() != shared and shared in folder.resolve().parents:
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent


def package_is_found(python: Path, **environment: str) -> bool:
    """Whether the package of the checkout, which lies in its folder `src`, can be imported."""
    return subprocess.run([python, "-I", "-c", "import found"], env=environment, check=False).returncode == 0


def another_python(folder: Path) -> Path:
    """The interpreter that runs this test, by another name; it writes down in the file `asked` that it was used."""
    program = folder / "bin" / "python3"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


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
    results = [process.communicate(timeout=LIMIT_S) for process in both]

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
    assert "needs Python 3.11 or later on PATH, or PYTHON=/path/to/python; found none" in errors


@pytest.mark.parametrize("name", ["moved", "Prüfung 'x' $y \\n", "a:b", os.fsdecode(b"b\xe4r")])
def test_a_checkout_that_was_moved_takes_its_environment_along_whatever_its_path_and_the_locale(
    copy: Path, tmp_path: Path, name: str
) -> None:  # fmt: skip
    run(copy / "bin" / "environment")
    moved = tmp_path / name
    shutil.copytree(copy, moved, symlinks=True)

    status, output, errors = run(moved / "bin" / "environment", LC_ALL="C")

    python = moved / ".venv" / "bin" / "python"
    assert (status, printable(output), printable(errors)) == (0, printable(str(python)), "")
    assert package_is_found(python, LC_ALL="C") and package_is_found(python, LC_ALL="C.UTF-8")


@pytest.mark.parametrize("name", ["Prüfung 'x' $y \\n", "a:b", os.fsdecode(b"b\xe4r")])
def test_an_environment_can_be_made_in_a_path_with_any_characters(copy: Path, tmp_path: Path, name: str) -> None:
    there = tmp_path / name
    shutil.copytree(copy, there, symlinks=True, ignore=shutil.ignore_patterns(".venv*"))

    status, _, errors = run(there / "bin" / "environment", LC_ALL="C")

    assert status == 0, printable(errors)
    assert package_is_found(there / ".venv" / "bin" / "python", LC_ALL="C")


def test_it_is_used_through_a_link_to_the_checkout(copy: Path, tmp_path: Path) -> None:
    run(copy / "bin" / "environment")
    (tmp_path / "current").symlink_to(copy)

    assert run(tmp_path / "current" / "bin" / "environment") == (0, str(copy / ".venv" / "bin" / "python"), "")


@pytest.mark.parametrize(
    ("python", "state"), [(None, "does not exist"), ("/nowhere/python", "has a Python that does not run, or not for this user,")]
)
def test_one_that_cannot_be_used_nor_written_is_told_in_one_sentence(
    copy: Path, tmp_path: Path, python: str | None, state: str
) -> None:  # fmt: skip
    there = tmp_path / "read only"
    shutil.copytree(copy, there, symlinks=True, ignore=shutil.ignore_patterns(".venv*"))
    if python is not None:
        (there / ".venv" / "bin").mkdir(parents=True)
        (there / ".venv" / "bin" / "python").symlink_to(python)
    there.chmod(0o555)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if as_nobody and not shutil.which("setpriv"):
        pytest.skip("needs setpriv: root can write everywhere")
    if as_nobody:
        let_pass(tmp_path)

    told = subprocess.run([*as_nobody, there / "bin" / "environment"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    there.chmod(0o755)

    sentence = f"the environment {there}/.venv {state} and cannot be written: run {there}/bin/environment once as a user who"
    assert (told.returncode, told.stdout, told.stderr) == (2, "", f"Jobyard: {sentence} can write there\n")


def test_the_active_virtual_environment_has_precedence_over_the_path(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / ".venv", ignore_errors=True)
    program = another_python(tmp_path / "active")
    (tmp_path / "active" / "bin" / "python").symlink_to(program)

    status, _, errors = run(copy / "bin" / "environment", path=without_python(tmp_path), VIRTUAL_ENV=str(tmp_path / "active"))

    assert status == 0, errors
    assert (tmp_path / "active" / "asked").exists()


def test_a_command_that_exists_but_does_not_run_is_passed_over(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / ".venv", ignore_errors=True)
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("python3", "python", "python3.13"):
        (shims / name).write_text(f"#!/bin/sh\necho 'pyenv: {name}: command not found' >&2\nexit 127\n")
        (shims / name).chmod(0o755)
    (shims / "python3.12").symlink_to(another_python(tmp_path / "other"))

    status, _, errors = run(copy / "bin" / "environment", path=f"{shims}:{without_python(tmp_path)}")

    assert (status, "command not found" in errors) == (0, False), errors


def test_python_chooses_the_interpreter_and_one_that_is_none_is_refused(copy: Path, tmp_path: Path) -> None:
    run(copy / "bin" / "environment")
    program = another_python(tmp_path / "chosen")

    same = run(copy / "bin" / "environment", path=without_python(tmp_path), PYTHON=str(program))
    none = run(copy / "bin" / "environment", PYTHON="/bin/false")

    assert same == (0, str(copy / ".venv" / "bin" / "python"), "") and (tmp_path / "chosen" / "asked").exists()
    assert (none[0], none[2].splitlines()[-1]) == (2, "Jobyard: PYTHON=/bin/false is not a Python 3.11 or later that can be run")
