"""Every process × every way to be hit: killed, asked to leave, stopped for good, stopped for a while.

Every cell checks the same promises: jobs acknowledged before, during and after the fault are executed; one attempt of each job
succeeds, and earlier ones have the expected status; only the process that was hit is replaced, or none; finally all is healthy.
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

from tests.support.asleep import LOOKS, times_asleep
from tests.support.notes import Note, Notes, is_alive, wait_gone
from tests.support.raw import a_client, crowd
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

SEED = int.from_bytes(os.urandom(4))
TASKS = "system_tasks"
BATCH = 20
LEASE_S = 1.0
HANG_S = 2
PAUSE_S = 1.4
"""Longer than a lease, shorter than the time after which a process counts as hung."""

ROLES = ["gateway", "http", "scheduler", "watcher", "queue", "worker", "executor"]
FAULTS = ["kill", "ask", "stop", "pause"]
LONG_SUITE_ONLY = [("gateway", "pause"), ("http", "pause"), ("executor", "pause")]
"""In the long suite only: these processes share nothing with others that a pause could affect."""

SETTINGS = {
    "TASKS": TASKS, "SCHEDULERS": 2, "WATCHERS": 2, "WORKERS": 2, "CONCURRENCY": 2, "POLL_S": 0.5, "RETRY_BASE_S": 0.1,
    "DRAIN_S": 1, "HANG_S": HANG_S, "LEASE_S": LEASE_S,
}  # fmt: skip
EXPECTED_STATUS = {
    ("worker", "kill"): ["lost"], ("worker", "ask"): ["released"], ("worker", "stop"): ["lost"],
    ("executor", "kill"): ["crashed"], ("executor", "ask"): ["crashed"], ("executor", "stop"): ["timeout"],
}  # fmt: skip
"""The status of the running job's attempt, where it does not succeed."""


@pytest.fixture(scope="module")
def full_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    with Jobyard(tmp_path_factory.mktemp("city"), **SETTINGS) as jobyard:
        yield jobyard


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    print(f"seed {SEED}")
    return random.Random(f"{SEED} {request.node.name}")


class Load:
    """Jobs that are submitted around a fault, and one that runs throughout."""

    def __init__(self, jobyard: Jobyard, notes: Notes, folder: Path, **fields: object) -> None:
        self._jobyard = jobyard
        self._notes = notes
        self._until = folder / "until"
        self._job_ids: list[str] = []
        self.held = jobyard.submit(notes.payload(until=str(self._until)), task="hold", **fields)

    def begun(self) -> Note:
        """The begin note of the running job's latest attempt."""

        def running() -> list[Note]:
            attempt = self._jobyard.job(self.held)["attempt"]
            return [note for note in self._notes.read(job_id=self.held) if note.attempt == attempt and is_alive(note.pid)]

        return wait_for(running, told="the running job")[0]

    def submit(self) -> None:
        """Submit a batch with idempotency keys, repeatedly until it is acknowledged."""
        payload = self._notes.payload(for_s=0.01)
        jobs = [{"task": "run", "payload": payload, "idempotency_key": os.urandom(8).hex()} for _ in range(BATCH)]

        def acknowledged() -> list[str] | None:
            answer = self._jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs})
            return list(answer.json["job_ids"]) if answer.status in (200, 201) else None

        self._job_ids += wait_for(acknowledged, told="an acknowledged batch") or []

    def finish(self) -> None:
        """Let the running job end; every job completes with one successful attempt."""
        self._until.touch()
        for job_id in (self.held, *self._job_ids):
            self._jobyard.wait_for_job(job_id)
            executions = self._jobyard.executions(job_id)
            ends = [execution["status"] for execution in executions]
            assert ends[-1:] == ["success"] and "success" not in ends[:-1], ends
            assert [execution["attempt"] for execution in executions] == list(range(1, len(ends) + 1))
            assert 1 <= len(self._notes.read("end", job_id)) <= len(ends)

    @property
    def last(self) -> str:
        """The job that was submitted last."""
        return self._job_ids[-1]

    def statuses(self) -> list[str]:
        """The statuses of the running job's attempts."""
        return [execution["status"] for execution in self._jobyard.executions(self.held)]


def victim_of(jobyard: Jobyard, role: str, running: Note, rng: random.Random) -> tuple[str, int]:
    """The name of a process in `/stats`, and the pid to hit: its own or that of a child."""
    processes = jobyard.processes()
    match role:
        case "worker":
            return next(name for name, entry in processes.items() if entry["pid"] == running.worker_pid), running.worker_pid
        case "executor":
            return next(name for name, entry in processes.items() if entry["pid"] == running.worker_pid), running.pid
        case "http":
            return "gateway-8080", rng.choice(psutil.Process(processes["gateway-8080"]["pid"]).children()).pid
    name = rng.choice([name for name, entry in processes.items() if entry["role"] == role])
    return name, int(processes[name]["pid"])


def until_past(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


@contextlib.contextmanager
def hit(pid: int, fault: str, *, pause_s: float = PAUSE_S) -> Iterator[None]:
    """Hit the process for the duration of the `with`; afterwards it is gone, or running again."""
    os.kill(pid, {"kill": signal.SIGKILL, "ask": signal.SIGTERM}.get(fault, signal.SIGSTOP))
    awaken = threading.Timer(pause_s, os.kill, (pid, signal.SIGCONT))
    if fault == "pause":
        awaken.start()
    yield
    if fault == "pause":
        awaken.join(LIMIT_S)
    else:
        wait_gone(pid)


CELLS = [
    pytest.param(role, fault, id=f"{role}-{fault}", marks=pytest.mark.long if (role, fault) in LONG_SUITE_ONLY else ())
    for role in ROLES
    for fault in FAULTS
]


@pytest.mark.parametrize(("role", "fault"), CELLS)
def test_every_job_succeeds_once_whichever_process_is_hit_and_how(
    full_system: Jobyard, notes: Notes, tmp_path: Path, rng: random.Random, role: str, fault: str
) -> None:
    load = Load(full_system, notes, tmp_path, timeout_s=1 if (role, fault) == ("executor", "stop") else 60)
    name, pid = victim_of(full_system, role, load.begun(), rng)
    before = {name: entry["pid"] for name, entry in full_system.processes().items()}
    load.submit()

    with hit(pid, fault):
        load.submit()
    wait_for(lambda: full_system.get("/health").status == 200, told="good health")
    load.submit()
    load.finish()

    after = {name: entry["pid"] for name, entry in full_system.processes().items()}
    replaced = {name for name in before if before[name] != after[name]}
    assert replaced == ({name} if fault != "pause" and role not in ("http", "executor") else set())
    assert load.statuses() == [*EXPECTED_STATUS.get((role, fault), []), "success"]


@pytest.mark.long
def test_a_hundred_random_faults_in_a_row_lose_nothing(tmp_path: Path, notes: Notes, rng: random.Random) -> None:
    with Jobyard(tmp_path, **SETTINGS | {"RETRY_BASE_S": 0, "MAX_LOST": 1000}) as jobyard:
        load = Load(jobyard, notes, tmp_path, timeout_s=3600, max_retries=100)
        for _ in range(100):
            role, fault = rng.choice(ROLES), rng.choice(["kill", "ask", "pause"])
            _, pid = victim_of(jobyard, role, load.begun(), rng)
            with hit(pid, fault, pause_s=rng.uniform(0, PAUSE_S)):
                load.submit()
            wait_for(lambda: jobyard.get("/health").status == 200, told="good health")
        load.finish()


@pytest.mark.parametrize("who", ["supervisor", "guard", "all"])
def test_a_pause_of_the_supervisor_or_of_everything_replaces_no_process(
    full_system: Jobyard, notes: Notes, tmp_path: Path, who: str
) -> None:
    load = Load(full_system, notes, tmp_path)
    load.begun()
    before = {name: entry["pid"] for name, entry in full_system.processes().items()}
    first = full_system.guard_pid if who == "guard" else before["supervisor"]
    others = [process.pid for process in full_system.look_at_processes() if process.pid != first] if who == "all" else []

    for pid in (first, *others):
        os.kill(pid, signal.SIGSTOP)
    if not others:
        load.submit()
    wait_for(until_past(HANG_S + 1))
    os.kill(first, signal.SIGCONT)
    wait_for(until_past(0.2))  # the supervisor now finds every heartbeat older than that of a hung process
    for pid in others:
        os.kill(pid, signal.SIGCONT)
    load.submit()
    load.finish()

    assert load.statuses() == ["success"]
    assert {name: entry["pid"] for name, entry in full_system.processes().items()} == before


@pytest.mark.parametrize(("fault", "fate"), [(signal.SIGKILL, "lost"), (signal.SIGTERM, "released")], ids=["kill", "ask"])
@pytest.mark.parametrize("first", ["supervisor", "guard"])
def test_the_next_start_continues_after_guard_and_supervisor_are_killed(
    tmp_path: Path, notes: Notes, first: str, fault: signal.Signals, fate: str
) -> None:
    with Jobyard(tmp_path, **SETTINGS | {"DRAIN_S": 0.2}) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        begun = load.begun()
        load.submit()
        jobyard.look_at_processes()

        os.kill(jobyard.pid("supervisor") if first == "supervisor" else jobyard.guard_pid, fault)
        status = jobyard.wait_end()
        wait_for(lambda: not jobyard.look_at_processes(), told="the end of all processes")
        wait_gone(begun.pid)
        jobyard.start()
        load.submit()
        load.finish()

        assert status == (0 if fault is signal.SIGTERM else 128 + fault if first == "supervisor" else -fault)
        assert load.statuses() == [fate, "success"]


def test_a_template_that_dies_at_once_each_time_is_given_time_and_all_work_is_done_in_the_end(tmp_path: Path, notes: Notes) -> None:
    broken = tmp_path / "broken"
    (tmp_path / "shaky.py").write_text(f"import os\nif os.path.exists({str(broken)!r}): os._exit(9)\n")
    with Jobyard(tmp_path, **SETTINGS | {"TASKS": f"{TASKS},shaky"}) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        load.begun()

        broken.touch()
        jobyard.kill("template")
        wait_for(lambda: jobyard.processes()["template"]["restarts"] >= 4)
        load.submit()
        health = jobyard.get("/health")
        broken.unlink()
        wait_for(lambda: jobyard.get("/health").status == 200, told="good health")
        load.submit()
        load.finish()

        assert health.status == 503 and "ended with exit status 9 while it imported shaky" in health.body.decode()
        assert set(load.statuses()) <= {"lost", "released", "success"}
        assert [entry["restarts"] for name, entry in jobyard.processes().items() if name != "template"] == [0] * 10



def test_clients_beyond_the_descriptor_limit_wait_and_affect_no_others(tmp_path: Path, notes: Notes) -> None:
    limit = 96
    prefix = ("/bin/sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh")
    with Jobyard(tmp_path, prefix=prefix, **SETTINGS) as jobyard:
        load = Load(jobyard, notes, tmp_path)
        load.begun()
        before = {name: entry["pid"] for name, entry in jobyard.processes().items()}
        front = psutil.Process(before["gateway-8080"]).children()
        old_friend = http.client.HTTPConnection("127.0.0.1", jobyard.port(), timeout=LIMIT_S)
        old_friend.connect()

        with contextlib.closing(old_friend), crowd(jobyard, b"", size=4 * limit):
            wait_for(lambda: all(process.num_fds() > limit // 2 for process in front), told="a front that is full")
            assert all(times_asleep(process.pid) > LOOKS / 2 for process in front)  # no process spins
            for _ in range(3):
                old_friend.request("GET", "/health")
                with old_friend.getresponse() as answer:
                    assert (answer.status, bool(answer.read())) == (200, True)
        load.submit()
        load.finish()

        assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == before
        assert load.statuses() == ["success"]
        assert "Traceback" not in jobyard.output()


REQUEST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def test_a_client_that_disconnects_in_the_middle_stores_a_whole_job_or_none(full_system: Jobyard, rng: random.Random) -> None:
    keys = [f"{SEED}-{number}" for number in range(60)]
    for key in keys:
        body = json.dumps({"idempotency_key": key, "payload": "x" * 100}).encode()
        request = REQUEST % (len(body), body)
        with a_client(full_system) as client:
            client.sendall(request[: rng.choice([rng.randrange(len(request)), len(request)])])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset

    answers = [full_system.ask("POST", "/api/jobs", {"idempotency_key": key, "payload": "x" * 100}) for key in keys]
    assert {answer.status for answer in answers} <= {200, 201}
    for answer in answers:
        assert full_system.wait_for_job(answer.json["job_id"])["attempt"] == 1
    again = [full_system.ask("POST", "/api/jobs", {"idempotency_key": key, "payload": "x" * 100}) for key in keys]
    assert [(answer.status, answer.json["job_id"]) for answer in again] == [(200, answer.json["job_id"]) for answer in answers]


CLOCK = """
import mmap, struct, time
with open({path!r}, "rb") as clock:
    page = mmap.mmap(clock.fileno(), 8, prot=mmap.PROT_READ)
now, now_ns = time.time, time.time_ns
time.time = lambda: now() + struct.unpack("d", page[:8])[0]
time.time_ns = lambda: now_ns() + int(struct.unpack("d", page[:8])[0] * 1e9)
"""
"""Imported by every Python at its start, as `sitecustomize`: a wall clock that is ahead of the real one by the time in a file."""


class Clock:
    """The wall clock of all processes that are started with this folder on their path."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "clock"
        self.set_ahead(0)
        (folder / "sitecustomize.py").write_text(CLOCK.format(path=str(self._path)))

    def set_ahead(self, seconds: float) -> None:
        """Set the clock ahead at once; the monotonic clock is not affected."""
        with self._path.open("r+b" if self._path.exists() else "wb") as clock:
            clock.write(struct.pack("d", seconds))


@pytest.mark.parametrize("hours", [1, -1])
def test_setting_the_clock_loses_doubles_and_delays_nothing(tmp_path: Path, notes: Notes, hours: int) -> None:
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
        assert jobyard.wait_for_job(retried)["attempt"] == 2
        wait_for(until_past(LEASE_S + 1))
        clock.set_ahead(0)
        load.submit()
        load.finish()

        assert round((created_at.timestamp() - time.time()) / 3600) == hours  # the clock was really set
        assert load.statuses() == ["success"]
        later = jobyard.wait_for_job(in_half_an_hour, status="completed" if hours > 0 else "pending")
        assert (later["lost_count"], later["retry_count"]) == (0, 0)
        assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == before
