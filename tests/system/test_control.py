"""The control process under kill -9 and SIGSTOP with jobs running, and the commands that go through it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobyard.control
from jobyard.api.commands import exits
from tests.support.load import Load, meanwhile
from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

WORKER, OTHER = "worker-7001", "worker-7002"
SMALL = {"TASKS": "system_tasks", "SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 2, "CONCURRENCY": 2}
BACK_S = 10.0
"""It is back within a second where the machine has time."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Jobyard]:
    with Jobyard(tmp_path, HANG_S=5, **SMALL) as system:
        yield system


def run(system: Jobyard, *words: str) -> subprocess.CompletedProcess[str]:
    environment = Jobyard.environment_for(system.data_dir.parent)
    return subprocess.run(
        [sys.executable, "-m", "jobyard", *words], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )  # fmt: skip


def here(system: Jobyard, name: str) -> str:
    role, _, port = name.rpartition("-")
    return f"{role}-{system.port(int(port))}"


def counted(system: Jobyard) -> tuple[int, int]:
    """How many jobs were accepted, and how many completed, as the components say."""
    components = system.stats()["components"].values()
    return sum(told.get("jobs_accepted", 0) for told in components), sum(told.get("jobs_succeeded", 0) for told in components)


def is_kept_up(stats: Any) -> bool:
    return "stale_since" not in stats and not any("stale_since" in told for told in stats["components"].values())


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_blow_to_control_under_load_changes_nothing_but_the_age_of_what_is_shown(system: Jobyard, blow: signal.Signals) -> None:
    load = Load(system, jobs_a_batch=20, task="echo")
    load.send_batch()
    wait_for(lambda: counted(system) == (20, 20))
    others = {name: entry["pid"] for name, entry in system.processes().items() if name != "control"}

    first = system.pid("control")
    with meanwhile(load.send_batch, every_s=0.01):
        os.kill(first, blow)
        shown = [system.stats() for _ in range(30)]
        wait_for(lambda: system.pid("control") != first, told="another control")
        wait_for(lambda: is_kept_up(system.stats()), told="fresh counters")
    for job_id in load.job_ids:
        system.wait_for_job(job_id, status="completed")

    assert all(len(stats["components"]) == 5 and len(stats["processes"]) >= 8 for stats in shown)
    assert blow != signal.SIGSTOP or any("stale_since" in stats for stats in shown)
    assert {name: entry["pid"] for name, entry in system.processes().items() if name != "control"} == others
    wait_for(lambda: counted(system) == (len(load.job_ids), len(load.job_ids)), told="the same numbers")
    assert all(execution["status"] == "success" for job_id in load.job_ids[:40] for execution in system.executions(job_id))


def test_an_idle_system_tells_a_new_control_all_that_it_has_counted(system: Jobyard) -> None:
    system.wait_for_job(system.submit(), status="completed")
    wait_for(lambda: counted(system) == (1, 1))

    first = system.kill("control")

    wait_for(lambda: system.pid("control") != first and is_kept_up(system.stats()))
    assert counted(system) == (1, 1)
    assert system.processes()["control"]["restarts"] == 1


def test_a_hung_worker_keeps_its_last_counters_with_their_age(system: Jobyard) -> None:
    system.wait_for_job(system.submit(), status="completed")
    wait_for(lambda: counted(system) == (1, 1))

    pid = system.kill(WORKER, signal.SIGSTOP)

    stale = wait_for(lambda: [told for told in [system.get("/stats", port=7001).json] if "stale_since" in told])[0]
    assert stale["worker_id"] == here(system, WORKER) and stale["age_s"] > 0
    system.wait_replaced(WORKER, pid)


def test_a_local_program_reads_the_roster_and_the_counters(system: Jobyard) -> None:
    with jobyard.control.connect(system.data_dir) as control:
        names = {process.name for process in control.roster()}
        counters = control.counters()[here(system, WORKER)]

    assert names == {"supervisor", "control", "template"} | {here(system, name) for name in (
        "gateway-8080", "scheduler-8081", "watcher-9001", "queue-6000", WORKER, OTHER
    )}  # fmt: skip
    assert counters["concurrency"] == 2 and counters["uptime_s"] > 0


def test_a_restart_loses_nothing_and_charges_nothing(system: Jobyard, notes: Notes) -> None:
    until = notes.path.parent / "go"
    jobs = [system.submit(notes.payload(until=str(until)), task="hold") for _ in range(4)]
    for job_id in jobs:
        notes.wait(job_id)
    before = system.pid(WORKER)
    with meanwhile(until.touch, every_s=0.5):
        ended = run(system, "restart", here(system, WORKER))

    assert (ended.returncode, ended.stderr) == (exits.OK, "")
    assert f"{here(system, WORKER)} was restarted" in ended.stdout
    assert system.pid(WORKER) != before
    ended_jobs = [system.wait_for_job(job_id) for job_id in jobs]
    assert [(job["attempt"], job["retry_count"], job["lost_count"]) for job in ended_jobs] == [(1, 0, 0)] * 4


def test_a_drained_worker_takes_nothing_and_stays_stopped_until_it_is_restarted(system: Jobyard) -> None:
    drained = run(system, "drain", here(system, WORKER))
    row = system.processes()[WORKER]
    jobs = [system.submit() for _ in range(10)]
    workers = {system.executions(job_id)[0]["worker_id"] for job_id in jobs if system.wait_for_job(job_id)}
    health = system.get("/health").status

    restarted = run(system, "restart", here(system, WORKER))

    assert (drained.returncode, row["status"], row["pid"]) == (exits.OK, "drained", None)
    assert {worker.split(":")[2] for worker in workers} == {here(system, OTHER)}
    assert health == 200
    assert restarted.returncode == exits.OK and "runs again" in restarted.stdout
    assert system.processes()[WORKER]["status"] == "running"


def test_why_says_that_an_operator_has_drained_what_a_job_waits_for(system: Jobyard) -> None:
    names = [here(system, name) for name in (WORKER, OTHER)]
    for name in names:
        run(system, "drain", name)
    waiting = system.submit()
    reasons = system.get(f"/api/jobs/{waiting}/why").json["reasons"]
    for name in names:
        run(system, "restart", name)

    assert [reason["drained"] for reason in reasons if reason["code"] == "no_worker"] == [names]
    system.wait_for_job(waiting)


def test_a_reload_imports_the_task_modules_again_and_says_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("from jobyard import task\n\n@task('price')\ndef price(payload): return 1\n")
    with Jobyard(tmp_path, **SMALL | {"TASKS": "shop"}) as system:
        (tmp_path / "shop.py").write_text("from jobyard import task\n\n@task('price')\ndef price(payload): return 2000\n")
        reloaded = run(system, "reload")
        result = system.wait_for_job(system.submit(task="price"))["result"]
        (tmp_path / "shop.py").write_text("this is no Python\n")

        refused = run(system, "reload")

        assert (reloaded.returncode, reloaded.stderr, result) == (exits.OK, "", 2000)
        assert refused.returncode == exits.FAILED and "shop" in refused.stderr
        assert system.wait_for_job(system.submit(task="price"))["result"] == 2000


def test_the_log_level_changes_in_every_process_at_once_and_in_its_successors(system: Jobyard) -> None:
    system.wait_for_job(system.submit(), status="completed")
    silent = "job_claimed" in system.output()

    ended = run(system, "log-level", "debug")
    system.wait_for_job(system.submit(), status="completed")

    assert (silent, ended.returncode) == (False, exits.OK)
    assert "the log level is debug now; it was info" in ended.stdout
    wait_for(lambda: "job_claimed" in system.output())


def test_a_command_that_cannot_be_done_says_why(system: Jobyard, tmp_path: Path) -> None:
    unknown, supervisor = run(system, "restart", "worker-1"), run(system, "restart", "supervisor")
    gateway = run(system, "drain", here(system, "gateway-8080"))
    nowhere = subprocess.run(
        [sys.executable, "-m", "jobyard", "restart", "x"], env=Jobyard.environment_for(tmp_path / "other"), capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip

    assert (unknown.returncode, gateway.returncode, nowhere.returncode) == (exits.FAILED, exits.FAILED, exits.UNREACHABLE)
    assert here(system, WORKER) in unknown.stderr and "control" in unknown.stderr
    assert "cannot be drained" in gateway.stderr
    assert "the parent of all others" in supervisor.stderr and "bin/start-all" in supervisor.stderr
    assert "nothing runs on DATA_DIR" in nowhere.stderr


def test_a_command_finds_a_control_that_was_killed_a_moment_ago(system: Jobyard) -> None:
    system.kill("control")

    ended = run(system, "log-level", "warning")

    assert (ended.returncode, ended.stderr) == (exits.OK, "")
