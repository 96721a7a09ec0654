"""The checks of `doctor` on a machine: a healthy folder, then one problem at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from jobyard.api.commands.check_machine import (
    look_at_clock,
    look_at_database,
    look_at_disk,
    look_at_folder,
    look_at_limits,
    look_at_ports,
    look_at_tasks,
    look_at_versions,
)
from jobyard.api.commands.findings import Finding, State
from jobyard.engine.config import Settings, read_settings
from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.errors import CannotStart
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.supervisor import ports
from jobyard.engine.supervisor.data_dir import DataDir
from tests.support.system import Jobyard

LAST_NAMEABLE = 8080 + 50_000
"""The highest gateway port that a PORT_OFFSET allows."""


def settings_of(folder: Path, **more: object) -> Settings:
    return read_settings({"DATA_DIR": str(folder)} | {name: str(value) for name, value in more.items()})


def worst_finding(findings: Iterable[Finding]) -> Finding:
    """The worst of these findings; every finding that is not fine must have a remedy."""
    found = list(findings)
    assert all(finding.remedy for finding in found if finding.state is not State.FINE)
    return max(found, key=lambda finding: list(State).index(finding.state))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    DataDir(path).make()
    prepare_file(path / DATABASE_FILE)
    return path


def test_a_healthy_folder_is_fine(folder: Path) -> None:
    settings = settings_of(folder)

    for look in (look_at_folder, look_at_disk, look_at_limits, look_at_database, look_at_clock):
        assert worst_finding(look(settings)).state is State.FINE, look
    assert worst_finding(look_at_versions()).state is State.FINE
    unfit = worst_finding(look_at_versions(lambda: ["gunicorn 27 or later (20.1.0 is installed)"]))
    assert unfit.state is State.BROKEN and "20.1.0" in unfit.message and "pip install 'jobyard[server]'" in str(unfit.remedy)


def test_a_missing_folder_is_fine_and_is_not_created(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "new" / "data")

    found = [worst_finding(look(settings)) for look in (look_at_folder, look_at_disk, look_at_database, look_at_ports)]

    assert found[0].message.endswith("does not exist yet and will be created")
    assert not (tmp_path / "new").exists()


def test_the_users_of_the_folder_are_named(folder: Path) -> None:
    data_dir = DataDir(folder)
    data_dir.take("worker-7001", alone=False)

    found = worst_finding(look_at_folder(settings_of(folder)))
    data_dir.release()

    assert f"used by pid {os.getpid()} (worker-7001)" in found.message


@pytest.mark.parametrize(("name", "mode"), [("", 0o755), (DATABASE_FILE, 0o644)])
def test_access_for_other_users_is_a_warning_with_the_chmod_that_ends_it(folder: Path, name: str, mode: int) -> None:
    path = folder / name if name else folder
    path.chmod(mode)

    found = worst_finding(look_at_folder(settings_of(folder)))

    assert found.state is State.WARNING and found.remedy == f"chmod {mode & 0o700:o} {path}"


def test_a_file_in_place_of_the_folder_is_broken(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    assert worst_finding(look_at_folder(settings_of(tmp_path / "data"))).state is State.BROKEN


def test_a_damaged_database_is_refused_and_not_modified(folder: Path) -> None:
    path = folder / DATABASE_FILE
    path.write_bytes(b"no database at all, but long enough to look at")

    with pytest.raises(CannotStart, match="is not a database: restore a backup"):
        list(look_at_database(settings_of(folder)))

    assert path.read_bytes().startswith(b"no database")


def test_a_database_from_the_future_is_a_warning_about_the_clock(folder: Path) -> None:
    later = (folder / DATABASE_FILE).stat().st_mtime + 3600
    os.utime(folder / DATABASE_FILE, (later, later))

    assert "in the future" in worst_finding(look_at_clock(settings_of(folder))).message


def test_a_port_in_use_is_broken_and_named(folder: Path) -> None:
    with contextlib.ExitStack() as exit_stack:
        port = LAST_NAMEABLE + 1
        while port > LAST_NAMEABLE:
            port = exit_stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        found = worst_finding(look_at_ports(settings_of(folder, PORT_OFFSET=port - 8080)))

    assert found.state is State.BROKEN and str(port) in found.message
    assert found.remedy is not None and "PORT_OFFSET" in found.remedy


def test_ports_that_clients_may_get_are_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reserved = Jobyard(tmp_path)
    first, last = reserved.port(8080), reserved.port(8082)
    (tmp_path / "range").write_text(f"{first}\t{last}\n")
    monkeypatch.setattr(ports, "CLIENT_RANGE", tmp_path / "range")

    found = worst_finding(look_at_ports(settings_of(folder, PORT_OFFSET=reserved.port_offset)))
    reserved.release_ports()

    assert found.state is State.WARNING
    assert "outgoing connection" in found.message and f"{first} to {last}" in (found.remedy or "")


def test_a_module_that_cannot_be_imported_is_broken(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks_without_licence.py").write_text("raise RuntimeError('no licence')")
    environment = {"PYTHONPATH": str(tmp_path)}

    found = worst_finding(look_at_tasks(settings_of(folder, TASKS="tasks_without_licence"), environment))

    assert found.state is State.BROKEN and "tasks_without_licence cannot be imported: RuntimeError: no licence" in found.message
    assert worst_finding(look_at_tasks(settings_of(folder), environment)).state is State.FINE
