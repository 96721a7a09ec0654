"""Importing the user's modules: errors and warnings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.tasks.builtin import register_builtin
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.template.task_modules import NotImported, files_of_the_user, import_all, traceback_of

NAME = "unit_of_the_users"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop(NAME, None)


def failure_of(folder: Path, source: str) -> NotImported:
    (folder / f"{NAME}.py").write_text(source)
    with pytest.raises(NotImported) as told:
        import_all([NAME], lambda module: None)
    return told.value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("\ndef broken(:", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_an_import_error_is_one_line_with_file_and_line_number(folder: Path, source: str, words: str) -> None:
    told = str(failure_of(folder, source))

    assert told.startswith(f"TASKS: module {NAME} cannot be imported: {words}") and "\n" not in told
    assert told.endswith(f"{NAME}.py, line {source.count(chr(10)) + 1 - ('first' in source)})") or f"{NAME}.py, line" in told


def test_a_module_that_is_not_found_is_told_with_where_it_was_looked_for(folder: Path) -> None:
    (folder / "unit_package").mkdir()
    with pytest.raises(NotImported) as own:
        import_all(["unit_package.nothing"], lambda module: None)

    assert str(own.value).endswith(f"No module named 'unit_package.nothing'; looked for on PYTHONPATH and in {os.getcwd()}")
    needed = f"line 1); tasks run on {sys.executable}: install it there, or set TASK_PYTHON to the Python that has it"
    assert str(failure_of(folder, "import nothing_of_that_name")).endswith(needed)


def test_an_annotation_that_no_payload_could_become_is_told_with_its_task(folder: Path) -> None:
    source = "from jobyard import task\nclass Own: pass\n@task('unit.annotated')\ndef annotated(*, x: Own): pass\n"

    told = str(failure_of(folder, source))
    del DEFINED._tasks["unit.annotated"]

    assert "parameter 'x' of task 'unit.annotated' (" in told and f"{NAME}.py, line 3) is annotated Own, which no JSON" in told


def test_a_wrong_declaration_is_told_with_the_users_line(folder: Path) -> None:
    told = str(failure_of(folder, "from jobyard import task\n\n@task('unit.both')\ndef both(a, *, b): pass\n"))

    assert "'unit.both' has the positional parameter 'a' and the keyword-only 'b'" in told
    assert told.endswith(f"{NAME}.py, line 3)")


def test_all_apps_of_django_need_a_project() -> None:
    with pytest.raises(NotImported, match="TASKS=django: needs DJANGO_SETTINGS_MODULE, such as shop.settings"):
        import_all(["django:"], lambda module: None)


def test_the_traceback_begins_with_the_users_frame(folder: Path) -> None:
    fault = failure_of(folder, "def deep():\n    return 1 / 0\n\ndeep()\n")

    told = traceback_of(fault.__cause__ or fault)

    assert f'{NAME}.py", line 4, in <module>' in told.split("\n")[1]
    assert "importlib" not in told and told.endswith("ZeroDivisionError: division by zero")


def test_a_module_cannot_take_the_name_of_a_built_in_task(folder: Path) -> None:
    register_builtin(enable_shell=False, http_allow_private=False)

    told = str(failure_of(folder, "from jobyard import task\n@task('echo')\ndef mine(payload): pass\n"))

    assert "'echo' is defined twice: in jobyard.engine.tasks.builtin.echo" in told


def test_a_standard_library_module_gets_a_warning_that_names_it() -> None:
    (told,) = import_all(["email"], lambda module: None)

    assert "email is a module of Python's standard library" in told


def test_only_a_module_without_tasks_gets_a_warning(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("from jobyard import task\n@task('unit.of.users')\ndef mine(payload): pass\n")
    (folder / "unit_empty.py").write_text("")

    told = import_all([NAME, "unit_empty", NAME], lambda module: None)

    assert told == ["TASKS: module unit_empty defines no task"]
    assert str(folder / f"{NAME}.py") in files_of_the_user()


def test_each_module_is_announced_before_it_is_imported(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("import sys; sys.told = list(sys.told)")
    told: list[str] = []
    sys.told = told  # type: ignore[attr-defined]

    import_all([NAME], told.append)

    assert sys.told == [NAME]  # type: ignore[attr-defined]
