"""Real processes under the real guard and supervisor, with roles that do almost nothing (`tests.support.tiny`)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobyard.control
from tests.support.system import CHECKOUT, Jobyard
from tests.support.waiting import wait_for

WORKER = "worker-7001"


class Tiny(Jobyard):
    """A tiny system; it serves no HTTP, so control is asked instead."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, program=(str(CHECKOUT / "tests/support/tiny.py"),), words=(), PORT_OFFSET=1, **settings)

    def start(self, *, wait_ready: bool = True) -> Jobyard:
        """As a real start, and until control has the roster, which the ready line of this one does not wait for."""
        super().start(wait_ready=wait_ready)
        if wait_ready:
            wait_for(lambda: {"supervisor", WORKER} <= self.processes().keys(), told="the roster")
        return self

    def processes(self) -> dict[str, dict[str, object]]:
        with jobyard.control.connect(self.data_dir) as control:
            try:
                return {row.name: {"pid": row.pid, "status": row.state, "restarts": row.restarts} for row in control.roster()}
            except jobyard.control.ControlAway as away:
                raise LookupError("not now") from away

    def executor(self) -> int:
        """The pid of the worker's executor."""
        return int(wait_for((self.data_dir / "executor").read_text))

    def left(self) -> list[str]:
        """The processes that stopped cleanly, in order."""
        return (self.data_dir / "left").read_text().split()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Tiny]:
    with Tiny(tmp_path) as tiny:
        yield tiny


def test_a_killed_process_is_replaced_within_a_second(tiny: Tiny) -> None:
    pid = tiny.kill(WORKER)

    tiny.wait_replaced(WORKER, pid)

    assert tiny.processes()[WORKER]["restarts"] == 1


def test_a_killed_workers_death_is_proven_at_once_and_nothing_of_it_is_left(tiny: Tiny) -> None:
    executor = tiny.executor()
    of_the_job = [process for process in tiny.look_at_processes() if process.pid != executor and os.getsid(process.pid) == executor]

    tiny.kill(WORKER)

    wait_for(lambda: "box:b00t:worker-7001:1\n" in (tiny.data_dir / "run" / "b00t.dead").read_text())
    assert len(of_the_job) == 1
    assert not [pid for pid in (executor, of_the_job[0].pid) if os.path.exists(f"/proc/{pid}")]


def test_a_stopped_process_is_replaced_after_hang_s(tmp_path: Path) -> None:
    with Tiny(tmp_path, HANG_S=1) as tiny:
        pid = tiny.kill(WORKER, signal.SIGSTOP)

        tiny.wait_replaced(WORKER, pid)

        assert "process_hung" in tiny.output()


def test_a_crash_loop_does_not_affect_other_processes(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path, CRASHES="watcher-9001")
    tiny.start(wait_ready=False)
    wait_for(lambda: int(str(tiny.processes()["watcher-9001"]["restarts"])) >= 3)

    processes = tiny.processes()
    status = tiny.stop()

    assert {entry["restarts"] for name, entry in processes.items() if name != "watcher-9001"} == {0}
    assert status == 0
    tiny.check_nothing_is_left()


@pytest.mark.parametrize("victim", ["supervisor", "guard"])
def test_nothing_is_left_a_second_after_guard_or_supervisor_is_killed(tmp_path: Path, victim: str) -> None:
    tiny = Tiny(tmp_path).start()
    tiny.executor()
    pids = {"supervisor": wait_for(lambda: int(str(tiny.processes()["supervisor"]["pid"]))), "guard": tiny.guard_pid}
    tiny.look_at_processes()

    os.kill(pids[victim], signal.SIGKILL)

    status = tiny.wait_end()
    wait_for(lambda: not tiny.look_at_processes(), told="the end of all processes")
    assert status == (128 + signal.SIGKILL if victim == "supervisor" else -signal.SIGKILL)


def test_a_start_after_a_killed_start_works_at_once(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path).start()
    os.kill(tiny.guard_pid, signal.SIGKILL)
    tiny.wait_end()
    wait_for(lambda: not tiny.look_at_processes())

    with Tiny(tmp_path) as second:
        assert second.processes()[WORKER]["status"] == "running"


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_in_order_and_ends_with_status_0(tiny: Tiny, signal_number: int) -> None:
    status = tiny.stop(signal_number)

    assert status == 0
    assert set(tiny.left()[:2]) == {"watcher-9001", WORKER}
    assert tiny.left()[2:] == ["queue-6000", "gateway-8080", "scheduler-8081"]


def test_sigterm_to_the_supervisor_itself_drains_as_well(tiny: Tiny) -> None:
    tiny.kill("supervisor", signal.SIGTERM)

    assert tiny.wait_end() == 0
    assert len(tiny.left()) == 5


def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    with Tiny(tmp_path, CLINGS=WORKER) as tiny:
        os.kill(tiny.guard_pid, signal.SIGTERM)
        wait_for(lambda: tiny.processes()[WORKER]["status"] == "stopping")

        status = tiny.stop_again()

        assert status == 130
        tiny.check_nothing_is_left()


def test_a_second_signal_ends_even_a_supervisor_that_hangs(tmp_path: Path) -> None:
    with Tiny(tmp_path) as tiny:
        tiny.kill("supervisor", signal.SIGSTOP)
        os.kill(tiny.guard_pid, signal.SIGTERM)

        assert tiny.stop_again(signal.SIGINT) == 130
        tiny.check_nothing_is_left()


def test_a_second_start_on_the_folder_is_refused_naming_the_first(tiny: Tiny, tmp_path: Path) -> None:
    second = Tiny(tmp_path)

    second.start(wait_ready=False)

    assert second.wait_end() != 0
    assert f"in use by pid {tiny.guard_pid} (start-all)" in tiny.output()
    assert tiny.processes()[WORKER]["status"] == "running"
