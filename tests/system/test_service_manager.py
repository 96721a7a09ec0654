"""A real system under a fake service manager: the notifications that it gets, and from which process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.manager import FakeManager, a_manager
from tests.support.system import READY, Jobyard
from tests.support.waiting import wait_for

FEW = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1, "TASKS": "system_tasks"}
WATCHDOG_USEC = 2_000_000
LONG_SILENCE_S = 2.5
"""Longer than the time between two ticks of a healthy supervisor."""


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeManager]:
    with a_manager(tmp_path, is_abstract=request.param == "abstract") as manager:
        yield manager


def pings(manager: FakeManager) -> int:
    return manager.look().count("WATCHDOG=1")


def test_a_manager_gets_ready_pings_and_stopping_from_the_process_it_started(tmp_path: Path, manager: FakeManager) -> None:
    with Jobyard(tmp_path, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_USEC, **FEW) as jobyard:
        wait_for(lambda: "READY=1" in manager.look(), told="ready")
        before = pings(manager)
        wait_for(lambda: pings(manager) >= before + 3, told="three pings")
        manager.look().clear()
        guard = jobyard.guard_pid

        status = jobyard.stop()

    words = [word for word in manager.look() if word != "WATCHDOG=1"]
    assert (status, words, manager.senders) == (0, ["STOPPING=1"], {guard})


def test_ready_is_not_reported_early(tmp_path: Path) -> None:
    with a_manager(tmp_path) as manager:
        jobyard = Jobyard(tmp_path, NOTIFY_SOCKET=manager.address, **FEW)
        try:
            jobyard.start(wait_ready=False)
            wait_for(manager.look, told="anything")
            output_when_told = jobyard.output()

            assert manager.told == ["READY=1"]
            assert READY in output_when_told
        finally:
            jobyard.kill_remains()
            jobyard.release_ports()


def test_pings_end_while_the_supervisor_is_stopped(tmp_path: Path) -> None:
    with a_manager(tmp_path) as manager:
        with Jobyard(tmp_path, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_USEC, **FEW) as jobyard:
            wait_for(lambda: pings(manager) >= 2, told="pings")
            supervisor = jobyard.kill("supervisor", signal.SIGSTOP)

            wait_for(lambda: manager.silent_s() > LONG_SILENCE_S, told="silence")

            os.kill(supervisor, signal.SIGCONT)
            before = pings(manager)
            wait_for(lambda: pings(manager) > before, told="a ping again")


def test_a_guard_killed_as_by_a_watchdog_leaves_nothing_although_its_supervisor_hangs(tmp_path: Path) -> None:
    with a_manager(tmp_path) as manager:
        jobyard = Jobyard(tmp_path, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC=WATCHDOG_USEC, **FEW).start()
        try:
            supervisor = jobyard.kill("supervisor", signal.SIGSTOP)

            os.kill(jobyard.guard_pid, signal.SIGKILL)
            os.kill(supervisor, signal.SIGKILL)  # as systemd does with the rest of the control group under KillMode=mixed

            wait_for(lambda: not jobyard.look_at_processes(), told="the end of all processes")
        finally:
            jobyard.kill_remains()
            jobyard.release_ports()


def test_a_task_does_not_see_the_managers_address(tmp_path: Path) -> None:
    with a_manager(tmp_path) as manager:
        ours = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": WATCHDOG_USEC, "WATCHDOG_PID": 1}
        with Jobyard(tmp_path, **ours, **FEW) as jobyard:
            seen = jobyard.wait_for_job(jobyard.submit(task="look_around"))["result"]

    assert "DATA_DIR" in seen
    assert not set(ours) & set(seen)
