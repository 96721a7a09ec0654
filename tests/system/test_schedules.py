"""Schedules of running systems: each fire is made once, whatever is killed, restarted or frozen while they fire."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.mongo import MongoProcess, a_database, any_server
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

SMALL = {"SCHEDULERS": 1, "WATCHERS": 3, "WORKERS": 1, "POLL_S": 0.5}
ALL = {"catch_up": "all", "catch_up_max": 1000, "overlap": "allow"}
LEASE_S = 8
"""How long a store waits for MongoDB follows from it: with less, a machine loaded ten times over gets no answer in time."""
WATCHERS = ("watcher-9001", "watcher-9002", "watcher-9003")


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[dict[str, str]]:
    with any_server(tmp_path / "mongo") as uri, a_database(uri) as name:
        yield {"MONGO_URI": uri, "MONGO_DB": name}


def put(jobyard: Jobyard, name: str, **fields: Any) -> Any:
    answer = jobyard.ask("PUT", f"/api/schedules/{name}", {"every_s": 1, "job": {"task": "echo"}, **fields})
    assert answer.status == 201, answer
    return answer.json


def get(jobyard: Jobyard, name: str) -> Any:
    return jobyard.get(f"/api/schedules/{name}").json


def fires(jobyard: Jobyard, name: str) -> int:
    return int(get(jobyard, name)["fires"])


def wait_fires(jobyard: Jobyard, name: str, at_least: int) -> None:
    wait_for(lambda: fires(jobyard, name) >= at_least, told=f"{at_least} fires of {name}")


def fire_times(jobyard: Jobyard, name: str) -> list[str]:
    """Those of all its jobs."""
    found: list[str] = []
    path: str | None = f"/jobs?schedule={name}&limit=1000"
    while path is not None:
        answer = jobyard.get(path)
        found += [job["fire_at"] for job in answer.json]
        link = answer.headers.get("Link")
        path = None if link is None else "/" + link.partition("<")[2].partition(">")[0].lstrip("/")
    return found


def check_adds_up(jobyard: Jobyard, name: str, first: str) -> None:
    """Every fire time from the first on has one job, or is counted as missed. What is under way when it is paused counts soon."""
    jobyard.ask("POST", f"/api/schedules/{name}/pause")
    wait_for(lambda: fires(jobyard, name) == len(fire_times(jobyard, name)), told=f"as many fires of {name} as jobs")
    times = fire_times(jobyard, name)
    schedule = get(jobyard, name)
    passed = (datetime.fromisoformat(schedule["next_fire_at"]) - datetime.fromisoformat(first)) / timedelta(seconds=1)
    assert len(times) == len(set(times)) == schedule["fires"]
    assert (schedule["fires"] + sum(schedule["missed"].values()), schedule["missed_is_exact"]) == (passed, True)


def test_killed_watchers_neither_lose_nor_double_a_fire(tmp_path: Path) -> None:
    with Jobyard(tmp_path, **SMALL) as jobyard:
        first = {
            overlap: put(jobyard, overlap, **ALL | {"overlap": overlap})["next_fire_at"] for overlap in ("allow", "skip", "all")
        }

        for number in range(6):
            name = WATCHERS[number % 3]
            pid = jobyard.kill(name)
            wait_fires(jobyard, "allow", fires(jobyard, "allow") + 1)
            jobyard.wait_replaced(name, pid)

        wait_fires(jobyard, "allow", 8)
        for overlap, at in first.items():
            check_adds_up(jobyard, overlap, at)


def test_a_catch_up_that_everything_is_killed_in_goes_on_where_it_was(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(12)]
    with Jobyard(tmp_path, **SMALL) as jobyard:
        for name in names:
            put(jobyard, name, **ALL)
        jobyard.kill_whole()
        first = wind_back(jobyard.data_dir, timedelta(seconds=300))

        jobyard.start(wait_ready=False)
        wait_for(lambda: is_catching_up(jobyard), told="a catch-up", within_s=60)
        jobyard.kill_whole()
        jobyard.start()

        wait_for(lambda: all(is_in_time(get(jobyard, name)) for name in names), told="the end of the catch-up")
        for name in names:
            check_adds_up(jobyard, name, first[name])
            assert get(jobyard, name)["missed"]["catch_up"] == 0, "all of 300 were made"


def wind_back(data_dir: Path, by: timedelta) -> dict[str, str]:
    """As if the system had been down for longer; the next fires then."""
    store = SqliteStore(data_dir / DATABASE_FILE, durable=True, waiting=lambda waits: None)
    first = {}
    for schedule in store.schedules.all():
        assert schedule.next_fire_at is not None
        earlier = msgspec.structs.replace(schedule, next_fire_at=schedule.next_fire_at - by, fires=0, version=schedule.version + 1)
        assert store.schedules.save(earlier, was=schedule.version)
        first[schedule.name] = (schedule.next_fire_at - by).isoformat()
    store.close()
    return first


def is_catching_up(jobyard: Jobyard) -> bool:
    with contextlib.suppress(OSError):
        return bool(jobyard.stats()["jobs"]["pending"] + jobyard.stats()["jobs"]["completed"])
    return False


def is_in_time(schedule: Any) -> bool:
    return datetime.fromisoformat(schedule["next_fire_at"]) > datetime.now(UTC) - timedelta(seconds=5)


@pytest.mark.skipif("MONGO_TEST_URI" in os.environ, reason="it needs a server of its own")
def test_a_host_that_is_frozen_for_longer_than_its_lease_makes_no_fire_twice(tmp_path: Path) -> None:
    with MongoProcess(tmp_path / "mongo") as server, a_database(server.uri) as database, ExitStack() as hosts:
        settings = SMALL | {"WATCHERS": 2, "LEASE_S": LEASE_S, "MONGO_URI": server.uri, "MONGO_DB": database}
        frozen, other = (hosts.enter_context(Jobyard(folder(tmp_path / name), **settings)) for name in ("frozen", "other"))
        first = {
            overlap: put(frozen, overlap, **ALL | {"overlap": overlap})["next_fire_at"] for overlap in ("allow", "skip", "all")
        }
        wait_fires(other, "allow", 2)

        with stopped(frozen):
            wait_fires(other, "allow", fires(other, "allow") + 2 * LEASE_S)
        wait_for(lambda: frozen.get("/health").status == 200, within_s=300, told="a healthy host")
        wait_fires(frozen, "allow", fires(other, "allow") + 2)

        for overlap, at in first.items():
            check_adds_up(other, overlap, at)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


@contextlib.contextmanager
def stopped(jobyard: Jobyard) -> Iterator[None]:
    """All its processes are stopped meanwhile."""
    send_all(jobyard, signal.SIGSTOP)
    try:
        yield
    finally:
        send_all(jobyard, signal.SIGCONT)


def send_all(jobyard: Jobyard, signal_number: int) -> None:
    for process in jobyard.look_at_processes():
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal_number)


def test_on_mongodb_killed_watchers_neither_lose_nor_double_a_fire(tmp_path: Path, mongo: dict[str, str]) -> None:
    with Jobyard(tmp_path, **SMALL, **mongo) as jobyard:
        first = {
            overlap: put(jobyard, overlap, **ALL | {"overlap": overlap})["next_fire_at"] for overlap in ("allow", "skip", "all")
        }

        for number in range(6):
            pid = jobyard.kill(WATCHERS[number % 3])
            wait_fires(jobyard, "allow", fires(jobyard, "allow") + 1)
            jobyard.wait_replaced(WATCHERS[number % 3], pid)

        for overlap, at in first.items():
            check_adds_up(jobyard, overlap, at)
