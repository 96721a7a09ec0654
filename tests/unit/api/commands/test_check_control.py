"""What `doctor` finds out from control."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.api.commands.check_control import look_at_control
from jobyard.api.commands.findings import State
from jobyard.engine.config import Settings, read_settings
from jobyard.engine.supervisor.data_dir import DataDir
from tests.support.control import a_row
from tests.support.control_process import ControlProcess


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Of a data folder on which something runs."""
    data_dir = DataDir(tmp_path)
    data_dir.make()
    data_dir.take("start-all", alone=False)
    yield read_settings({"DATA_DIR": str(tmp_path)})
    data_dir.release()


def test_nothing_is_said_when_nothing_runs(tmp_path: Path) -> None:
    assert list(look_at_control(read_settings({"DATA_DIR": str(tmp_path)}))) == []


def test_a_control_that_is_away_is_a_warning_that_says_what_it_means(settings: Settings) -> None:
    (finding,) = look_at_control(settings)

    assert finding.state is State.WARNING
    assert finding.remedy is not None and "jobs are not affected" in finding.remedy


def test_silent_and_drained_processes_are_named(settings: Settings) -> None:
    control = ControlProcess(settings.data_dir).start()
    rows = [a_row("queue-6000"), a_row("worker-7001", silent_since=1.0), a_row("worker-7002", state="drained", pid=None)]
    control.client().call("roster", "write", "supervisor", rows)

    findings = list(look_at_control(settings))

    assert [(finding.state, finding.message.split(",")[0].split(" is ")[0]) for finding in findings] == [
        (State.WARNING, "worker-7001"), (State.WARNING, "worker-7002"), (State.FINE, "answers")
    ]  # fmt: skip
    control.close()
