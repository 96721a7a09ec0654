"""Calls to control: deadlines, forks, a replaced control process, and the public interface."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import jobyard.control
from jobyard.engine.control.client import AWAY_S, Control, ControlAway
from jobyard.engine.control.protocol import OVERVIEW
from jobyard.engine.control.publisher import LATEST
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World
from tests.support.control import a_row
from tests.support.control_process import ControlProcess
from tests.support.waiting import wait_for
from tests.support.world import FakeWorld


def test_a_stopped_control_costs_the_deadline_once_and_then_fails_at_once(control: ControlProcess) -> None:
    world = FakeWorld()
    client = Control(control.run_dir, world, name="test", deadline_s=0.25)
    client.call(OVERVIEW, "read", [])
    control.stand_still()

    with pytest.raises(ControlAway, match=r"no answer within 0\.25 s"):
        client.call(OVERVIEW, "read", [])
    with pytest.raises(ControlAway, match="a moment ago"):
        client.call(OVERVIEW, "read", [])
    world.advance(AWAY_S)
    with pytest.raises(ControlAway, match=r"no answer within 0\.25 s"):  # connecting and the handshake have it too
        client.call(OVERVIEW, "read", [])
    control.signal(signal.SIGCONT)
    world.advance(AWAY_S)

    assert "roster" in client.call(OVERVIEW, "read", [])
    client.close()


def test_a_late_answer_is_not_taken_for_that_of_another_call(control: ControlProcess) -> None:
    world = FakeWorld()
    client = Control(control.run_dir, world, name="test", deadline_s=0.25)
    client.call("roster", "write", "s", [{"name": "a"}])
    control.stand_still()
    with pytest.raises(ControlAway):
        client.call("roster", "read")
    control.signal(signal.SIGCONT)
    world.advance(AWAY_S)

    assert client.call("commands", "outcome", "x") == {"state": "unknown"}
    client.close()


def test_a_lost_connection_is_reopened_in_the_same_call(control: ControlProcess) -> None:
    client = control.client()
    client.call(OVERVIEW, "read", [])
    control.kill()
    control.start()

    assert client.call("roster", "read") == []


def test_a_forked_child_opens_its_own_connection(control: ControlProcess) -> None:
    client = control.client()
    client.call("roster", "write", "s", [{"name": "a"}])

    statuses = [control.world.wait(control.world.fork(lambda: len(client.call("roster", "read")) - 1)) for _ in range(3)]

    assert statuses == [0, 0, 0]
    assert client.call("roster", "read") == [{"name": "a"}]


def test_without_a_socket_the_error_says_that_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(ControlAway) as away:
        Control(RunDir(tmp_path), World(), name="test").call("roster", "read")

    assert away.value.was_never_there


def test_a_control_killed_during_a_call_is_away_until_its_successor_serves(control: ControlProcess) -> None:
    client = control.client()
    control.kill()

    with pytest.raises(ControlAway):
        client.call("roster", "read")

    control.start()
    wait_for(lambda: control.answers(client))


def test_local_programs_read_roster_and_counters(control: ControlProcess) -> None:
    client = control.client()
    client.call("roster", "write", "supervisor", [a_row("worker-7001", restarts=2, last_words="signal 9 (SIGKILL)")])
    latest = '{"started_at": 1.0, "stats": {"executors": [{"pid": 5, "job_id": null, "running_since": null}]}}'
    client.call("counters", "publish", "worker-7001", os.getpid(), 1.0, {LATEST: latest})

    with jobyard.control.connect(control.run_dir.path.parent) as local:
        (process,) = local.roster()
        counters = local.counters()["worker-7001"]

    assert (process.name, process.role, process.pid, process.state) == ("worker-7001", "worker", os.getpid(), "running")
    assert (process.restarts, process.last_words, process.silent_s) == (2, "signal 9 (SIGKILL)", None)
    assert counters["executors"] == [{"pid": 5, "job_id": None, "running_s": 0}]
    assert counters["uptime_s"] > 0


def test_local_programs_get_an_error_if_nothing_runs(tmp_path: Path) -> None:
    with jobyard.control.connect(tmp_path) as local, pytest.raises(jobyard.control.ControlAway):
        local.roster()
