"""Every process × every way to be hit: killed, asked to leave, stopped for good, stopped for a while.

Each cell holds the same promises: what was acknowledged before, during and after is executed; one attempt of each job succeeds,
and those before it are called what they were; only who was hit is replaced, or nobody; all is well in the end.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.support.notes import Note, Notes, is_alive, wait_gone
from tests.support.raw import a_client, crowd
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

SEED = int.from_bytes(os.urandom(4))
TASKS = "system_tasks"
BATCH = 20
LEASE_S = 1.0
HANG_S = 2
PAUSE_S = 1.4
"""Longer than a lease, shorter than what makes a process a hung one."""

ROLES = ["gateway", "http", "scheduler", "watcher", "queue", "worker", "executor"]
BLOWS = ["kill", "ask", "stop", "pause"]
SELDOM = [("gateway", "pause"), ("http", "pause"), ("executor", "pause")]
"""In the long suite only: these share nothing with the others that a pause could upset."""

SETTINGS = {
    "TASKS": TASKS, "SCHEDULERS": 2, "WATCHERS": 2, "WORKERS": 2, "CONCURRENCY": 2, "POLL_S": 0.5, "RETRY_BASE_S": 0.1,
    "DRAIN_S": 1, "HANG_S": HANG_S, "LEASE_S": LEASE_S,
}  # fmt: skip
FATE = {
    ("worker", "kill"): ["lost"], ("worker", "ask"): ["released"], ("worker", "stop"): ["lost"],
    ("executor", "kill"): ["crashed"], ("executor", "ask"): ["crashed"], ("executor", "stop"): ["timeout"],
}  # fmt: skip
"""How the attempt of a job that runs meanwhile ends, where it does not end well at once."""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    with Jobyard(tmp_path_factory.mktemp("city"), **SETTINGS) as jobyard:
        yield jobyard


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    print(f"seed {SEED}")
    return random.Random(f"{SEED} {request.node.name}")


class Load:
    """Jobs submitted around a blow, and one that runs all the while."""

    def __init__(self, jobyard: Jobyard, notes: Notes, folder: Path, **fields: object) -> None:
        self._jobyard = jobyard
        self._notes = notes
        self._until = folder / "until"
        self._job_ids: list[str] = []
        self.held = jobyard.submit(notes.payload(until=str(self._until)), task="hold", **fields)

    def begun(self) -> Note:
        """What the one that runs told of itself, in its latest attempt."""

        def running() -> list[Note]:
            attempt = self._jobyard.job(self.held)["attempt"]
            return [note for note in self._notes.read(job_id=self.held) if note.attempt == attempt and is_alive(note.pid)]

        return wait_for(running, told="the one that runs")[0]

    def submit(self) -> None:
        """A batch, sent with its keys until it is acknowledged."""
        payload = self._notes.payload(for_s=0.01)
        jobs = [{"task": "run", "payload": payload, "idempotency_key": os.urandom(8).hex()} for _ in range(BATCH)]

        def acknowledged() -> list[str] | None:
            answer = self._jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs})
            return list(answer.json["job_ids"]) if answer.status == 201 else None

        self._job_ids += wait_for(acknowledged, within_s=15, told="an acknowledged batch") or []

    def finish(self) -> None:
        """Let the one go; every job completes, by one attempt that succeeded."""
        self._until.touch()
        for job_id in (self.held, *self._job_ids):
            self._jobyard.wait_for_job(job_id, within_s=20)
            executions = self._jobyard.executions(job_id)
            ends = [execution["status"] for execution in executions]
            assert ends[-1:] == ["success"] and "success" not in ends[:-1], ends
            assert [execution["attempt"] for execution in executions] == list(range(1, len(ends) + 1))
            assert 1 <= len(self._notes.read("end", job_id)) <= len(ends)

    @property
    def last(self) -> str:
        """The one that was submitted last."""
        return self._job_ids[-1]

    def fates(self) -> list[str]:
        """What the attempts at the one that ran are called."""
        return [execution["status"] for execution in self._jobyard.executions(self.held)]


def victim_of(jobyard: Jobyard, role: str, running: Note, dice: random.Random) -> tuple[str, int]:
    """The name of a process in `/stats`, and the pid of who is hit: it, or a child of it."""
    processes = jobyard.processes()
    match role:
        case "worker":
            return next(name for name, entry in processes.items() if entry["pid"] == running.worker_pid), running.worker_pid
        case "executor":
            return next(name for name, entry in processes.items() if entry["pid"] == running.worker_pid), running.pid
        case "http":
            return "gateway-8080", dice.choice(psutil.Process(processes["gateway-8080"]["pid"]).children()).pid
    name = dice.choice([name for name, entry in processes.items() if entry["role"] == role])
    return name, int(processes[name]["pid"])


def until_past(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


@contextlib.contextmanager
def hit(pid: int, blow: str, *, pause_s: float = PAUSE_S) -> Iterator[None]:
    """What is done inside is done meanwhile; in the end it is gone, or awake again."""
    os.kill(pid, {"kill": signal.SIGKILL, "ask": signal.SIGTERM}.get(blow, signal.SIGSTOP))
    awaken = threading.Timer(pause_s, os.kill, (pid, signal.SIGCONT))
    if blow == "pause":
        awaken.start()
    yield
    if blow == "pause":
        awaken.join()
    else:
        wait_gone(pid, within_s=HANG_S + 4)


CELLS = [
    pytest.param(role, blow, id=f"{role}-{blow}", marks=pytest.mark.long if (role, blow) in SELDOM else ())
    for role in ROLES
    for blow in BLOWS
]


@pytest.mark.parametrize(("role", "blow"), CELLS)
def test_whoever_is_hit_however_all_work_is_done_once(
    city: Jobyard, notes: Notes, tmp_path: Path, dice: random.Random, role: str, blow: str
) -> None:
    load = Load(city, notes, tmp_path, timeout_s=1 if (role, blow) == ("executor", "stop") else 60)
    name, pid = victim_of(city, role, load.begun(), dice)
    before = {name: entry["pid"] for name, entry in city.processes().items()}
    load.submit()

    with hit(pid, blow):
        load.submit()
    wait_for(lambda: city.get("/health").status == 200, within_s=8, told="good health")
    load.submit()
    load.finish()

    after = {name: entry["pid"] for name, entry in city.processes().items()}
    replaced = {name for name in before if before[name] != after[name]}
    assert replaced == ({name} if blow != "pause" and role not in ("http", "executor") else set())
    assert load.fates() == [*FATE.get((role, blow), []), "success"]


@pytest.mark.long
def test_a_hundred_blows_one_after_the_other_wherever_they_fall(tmp_path: Path, notes: Notes, dice: random.Random) -> None:
    with Jobyard(tmp_path, **SETTINGS | {"RETRY_BASE_S": 0, "MAX_LOST": 1000}) as jobyard:
        load = Load(jobyard, notes, tmp_path, timeout_s=3600, max_retries=100)
        for _ in range(100):
            role, blow = dice.choice(ROLES), dice.choice(["kill", "ask", "pause"])
            _, pid = victim_of(jobyard, role, load.begun(), dice)
            with hit(pid, blow, pause_s=dice.uniform(0, PAUSE_S)):
                load.submit()
            wait_for(lambda: jobyard.get("/health").status == 200, within_s=10, told="good health")
        load.finish()


@pytest.mark.parametrize("who", ["supervisor", "guard", "all"])
def test_nobody_is_replaced_after_a_pause_of_those_who_watch_or_of_the_whole(
    city: Jobyard, notes: Notes, tmp_path: Path, who: str
) -> None:
    load = Load(city, notes, tmp_path)
    load.begun()
    before = {name: entry["pid"] for name, entry in city.processes().items()}
    first = city.guard_pid if who == "guard" else before["supervisor"]
    others = [process.pid for process in city.look_at_processes() if process.pid != first] if who == "all" else []

    for pid in (first, *others):
        os.kill(pid, signal.SIGSTOP)
    if not others:
        load.submit()
    wait_for(until_past(HANG_S + 1))
    os.kill(first, signal.SIGCONT)
    wait_for(until_past(0.2))  # it sees that nobody has shown a sign of life for longer than a hung one may be silent
    for pid in others:
        os.kill(pid, signal.SIGCONT)
    load.submit()
    load.finish()

    assert load.fates() == ["success"]
    assert {name: entry["pid"] for name, entry in city.processes().items()} == before


@pytest.mark.parametrize(("blow", "fate"), [(signal.SIGKILL, "lost"), (signal.SIGTERM, "released")], ids=["kill", "ask"])
@pytest.mark.parametrize("first", ["supervisor", "guard"])
def test_the_next_start_goes_on_where_the_end_of_the_first_two_left_it(
    tmp_path: Path, notes: Notes, first: str, blow: signal.Signals, fate: str
) -> None:
    with Jobyard(tmp_path, **SETTINGS | {"DRAIN_S": 0.2}) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        begun = load.begun()
        load.submit()
        jobyard.look_at_processes()

        os.kill(jobyard.pid("supervisor") if first == "supervisor" else jobyard.guard_pid, blow)
        status = jobyard.wait_end(within_s=8)
        wait_for(lambda: not jobyard.look_at_processes(), within_s=2, told="the end of all processes")
        wait_gone(begun.pid)
        jobyard.start()
        load.submit()
        load.finish()

        assert status == (0 if blow is signal.SIGTERM else 128 + blow if first == "supervisor" else -blow)
        assert load.fates() == [fate, "success"]


def test_a_worker_that_dies_at_once_each_time_is_given_time_and_the_others_work(tmp_path: Path, notes: Notes) -> None:
    broken = tmp_path / "broken"
    (tmp_path / "shaky.py").write_text(f"import os\nif os.path.exists({str(broken)!r}): os._exit(9)\n")
    with Jobyard(tmp_path, **SETTINGS | {"TASKS": f"{TASKS},shaky"}) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        other = next(name for name in ("worker-7001", "worker-7002") if jobyard.pid(name) != load.begun().worker_pid)

        broken.touch()
        jobyard.kill(other)
        wait_for(lambda: jobyard.processes()[other]["restarts"] >= 4)
        load.submit()
        wait_for(until_past(1.5))
        restarts = jobyard.processes()[other]["restarts"]
        health = jobyard.get("/health")
        broken.unlink()
        wait_for(lambda: jobyard.get("/health").status == 200, within_s=8, told="good health")
        load.submit()
        load.finish()

        assert 4 <= restarts <= 6  # pauses of 0, ¼, ½, 1, 2, 4, 5 seconds
        assert health.status == 503 and other.partition("-")[0] in health.body.decode()
        assert load.fates() == ["success"]
        assert [entry["restarts"] for name, entry in jobyard.processes().items() if name != other] == [0] * 9


def test_more_clients_than_descriptors_are_kept_waiting_and_cost_nobody_else_anything(tmp_path: Path, notes: Notes) -> None:
    limit = 96
    prefix = ("/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh")
    with Jobyard(tmp_path, prefix=prefix, **SETTINGS) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        load.begun()
        before = {name: entry["pid"] for name, entry in jobyard.processes().items()}
        front = psutil.Process(before["gateway-8080"]).children()
        old_friend = http.client.HTTPConnection("127.0.0.1", jobyard.port(), timeout=10)
        old_friend.connect()

        with contextlib.closing(old_friend), crowd(jobyard, b"", size=4 * limit):
            wait_for(lambda: all(process.num_fds() > limit // 2 for process in front), told="a front that is full")
            used_s = [sum(process.cpu_times()[:2]) for process in front]
            wait_for(until_past(1))
            assert sum(sum(process.cpu_times()[:2]) for process in front) - sum(used_s) < 0.2  # nobody turns in vain
            for _ in range(3):
                old_friend.request("GET", "/health")
                with old_friend.getresponse() as answer:
                    assert (answer.status, bool(answer.read())) == (200, True)
        load.submit()
        load.finish()

        assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == before
        assert load.fates() == ["success"]
        assert "Traceback" not in jobyard.output()


REQUEST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def test_a_client_that_goes_in_the_middle_has_stored_a_whole_job_or_none(city: Jobyard, dice: random.Random) -> None:
    keys = [f"{SEED}-{number}" for number in range(60)]
    for key in keys:
        body = json.dumps({"idempotency_key": key, "payload": "x" * 100}).encode()
        request = REQUEST % (len(body), body)
        with a_client(city) as client:
            client.sendall(request[: dice.choice([dice.randrange(len(request)), len(request)])])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    answers = [city.ask("POST", "/api/jobs", {"idempotency_key": key, "payload": "x" * 100}) for key in keys]
    assert {answer.status for answer in answers} <= {200, 201}
    for answer in answers:
        assert city.wait_for_job(answer.json["job_id"])["attempt"] == 1
    again = [city.ask("POST", "/api/jobs", {"idempotency_key": key, "payload": "x" * 100}) for key in keys]
    assert [(answer.status, answer.json["job_id"]) for answer in again] == [(200, answer.json["job_id"]) for answer in answers]


CLOCK = """
import mmap, struct, time
with open({path!r}, "rb") as clock:
    page = mmap.mmap(clock.fileno(), 8, prot=mmap.PROT_READ)
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + struct.unpack("d", page[:8])[0]
time.time_ns = lambda: now_ns() + int(struct.unpack("d", page[:8])[0] * 1e9)
"""
"""Imported by every Python at its start, as `sitecustomize`: a wall clock that is ahead of the real one by what a file says."""


class Clock:
    """The wall clock of whatever is started with this folder on its path."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clock"
        self.set_ahead(0)
        (folder / "sitecustomize.py").write_text(CLOCK.format(path=str(self._path)))

    def set_ahead(self, seconds: float) -> None:
        """By so much, at once; the monotonic clock goes on as before."""
        with self._path.open("r+b" if self._path.exists() else "wb") as clock:
            clock.write(struct.pack("d", seconds))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_is_set_loses_doubles_and_delays_nothing(tmp_path: Path, notes: Notes, hours: int) -> None:
    clock = Clock(tmp_path)
    with Jobyard(tmp_path, **SETTINGS) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        load.begun()
        before = {name: entry["pid"] for name, entry in jobyard.processes().items()}
        in_half_an_hour = jobyard.submit(notes.payload(), task="run", delay_s=1800)
        load.submit()

        clock.set_ahead(3600 * hours)
        load.submit()
        created_at = datetime.fromisoformat(jobyard.job(load.last)["created_at"])
        retried = jobyard.submit(notes.payload(good_at=2), task="fail")
        assert jobyard.wait_for_job(retried, within_s=3)["attempt"] == 2
        wait_for(until_past(LEASE_S + 1))
        clock.set_ahead(0)
        load.submit()
        load.finish()

        assert round((created_at.timestamp() - time.time()) / 3600) == hours  # it was set indeed
        assert load.fates() == ["success"]
        later = jobyard.wait_for_job(in_half_an_hour, status="completed" if hours > 0 else "pending")
        assert (later["lost_count"], later["retry_count"]) == (0, 0)
        assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == before
