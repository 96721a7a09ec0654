"""`bin/jobyard.service` as systemd itself reads it, and the numbers in it that must agree with our own."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from jobyard.api.start.drain import drain_stages
from jobyard.engine.config import read_settings
from jobyard.engine.supervisor.guard import LAST_SWEEP_S
from jobyard.engine.supervisor.process_table import STARTUP_TIMEOUT_S
from jobyard.engine.supervisor.supervisor import LONGEST_SLEEP_S
from tests.support.system import CHECKOUT

UNIT = CHECKOUT / "bin" / "jobyard.service"
INSTALLED_AT = "/opt/jobyard"
WORST_EXPOSURE_TIMES_TEN = 30

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit file as it would be installed from this checkout."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace(INSTALLED_AT, str(CHECKOUT)))
    return path


@pytest.fixture
def service() -> configparser.SectionProxy:
    """The unit's service section; for a repeated setting its last value."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def analyze(*words: str | Path) -> tuple[int, str]:
    """The exit status and the whole output."""
    ended = subprocess.run(["systemd-analyze", "--no-pager", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.returncode, ended.stdout


@needs_systemd
def test_systemd_accepts_the_unit_without_a_warning(unit: Path) -> None:
    assert analyze("verify", "--man=no", unit) == (0, "")


@needs_systemd
def test_systemd_finds_a_low_exposure(unit: Path) -> None:
    status, words = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE_TIMES_TEN}", unit)

    assert "Overall exposure level" in words
    assert status == 0, words


def test_the_stop_timeout_exceeds_all_stages_of_a_stop(service: configparser.SectionProxy) -> None:
    stages = drain_stages(read_settings({}).drain_s)

    assert int(service["TimeoutStopSec"]) > sum(stage.timeout_s for stage in stages) + LAST_SWEEP_S


def test_the_start_timeout_exceeds_that_of_a_first_heartbeat(service: configparser.SectionProxy) -> None:
    assert int(service["TimeoutStartSec"]) > 2 * STARTUP_TIMEOUT_S


def test_the_watchdog_waits_longer_than_hang_s_and_many_ticks_of_the_supervisor(
    service: configparser.SectionProxy,
) -> None:
    assert int(service["WatchdogSec"]) > max(read_settings({}).hang_s, 5 * LONGEST_SLEEP_S)


def test_only_the_guard_may_notify_and_it_outlives_its_supervisor(service: configparser.SectionProxy) -> None:
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
