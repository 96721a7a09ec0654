"""`bin/jobyard.service`, as systemd itself reads it and as far as our own numbers must agree with it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from jobyard.api.start.drain import drain_stages
from jobyard.engine.config import read_settings
from jobyard.engine.supervisor.guard import LAST_SWEEP_S
from jobyard.engine.supervisor.process_table import FIRST_SIGN_S
from jobyard.engine.supervisor.supervisor import LONGEST_SLEEP_S
from tests.support.system import CHECKOUT

UNIT = CHECKOUT / "bin" / "jobyard.service"
INSTALLED_AT = "/opt/jobyard"
WORST_EXPOSURE_TIMES_TEN = 30

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The file as it is installed from this checkout."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(INSTALLED_AT, str(CHECKOUT)))
    return path


@pytest.fixture
def service() -> configparser.SectionProxy:
    """What its service section says; a setting that stands there twice counts with its last value."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def analyze(*words: str | Path) -> tuple[int, str]:
    """Exit status and all that it said."""
    told = subprocess.run(["systemd-analyze", "--no-pager", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return told.returncode, told.stdout


@needs_systemd
def test_systemd_accepts_it_without_a_warning(unit: Path) -> None:
    assert analyze("verify", "--man=no", unit) == (0, "")


@needs_systemd
def test_systemd_finds_little_that_it_exposes(unit: Path) -> None:
    status, words = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE_TIMES_TEN}", unit)

    assert "Overall exposure level" in words
    assert status == 0, words


def test_a_stop_has_more_time_than_all_its_stages(service: configparser.SectionProxy) -> None:
    stages = drain_stages(read_settings({}).drain_s)

    assert int(service["TimeoutStopSec"]) > sum(stage.bound_s for stage in stages) + LAST_SWEEP_S


def test_a_start_has_more_time_than_a_process_for_its_first_sign(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStartSec"]) > 2 * FIRST_SIGN_S


def test_the_watchdog_waits_longer_than_a_process_may_hang_and_many_turns_of_the_supervisor(
    service: configparser.SectionProxy,
) -> None:
    assert int(service["WatchdogSec"]) > max(read_settings({}).hang_s, 5 * LONGEST_SLEEP_S)


def test_only_the_guard_may_speak_and_it_sees_its_supervisor_through(service: configparser.SectionProxy) -> None:
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
