"""The system under test: the default topology, started as a user starts it, in a folder and on ports of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.store.sqlite.engine import sqlite3
from tests.support.gauges import memory_mib, tree
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
POLL_S = 0.05
SETTLE_S = 1.0
HEALTHY = 200
COMPLETED = "SELECT jobs FROM counts WHERE status = 'completed'"


class NoProgress(Exception):
    """The system made no progress with its jobs."""


class System:
    """A running system, as the measurements see it."""

    def __init__(self, jobyard: Jobyard, folder: Path) -> None:
        self.jobyard = jobyard
        self.folder = folder
        self.port = jobyard.port()
        self.start_s = 0.0
        self.fresh_mib = 0.0

    def completed(self) -> int:
        """The number of completed jobs, read from the database: asking the system would distort the measurement."""
        uri = f"{(self.jobyard.data_dir / DATABASE_FILE).as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            return int(connection.execute(COMPLETED).fetchone()[0])

    def wait_completed(self, count: int, *, no_progress_s: float = 20.0) -> int:
        """Wait for this many completed jobs; the monotonic time in ns of seeing them. Raises when there is no progress for long."""
        seen, progress_at = -1, time.monotonic()
        while True:
            polled_ns = time.monotonic_ns()
            now_completed = self.completed()
            if now_completed >= count:
                return polled_ns
            if now_completed != seen:
                seen, progress_at = now_completed, time.monotonic()
            if time.monotonic() - progress_at > no_progress_s:
                raise NoProgress(f"{count - seen} jobs are missing: {self.jobyard.stats()['jobs']}")
            time.sleep(POLL_S)

    def wait_idle(self) -> None:
        """Wait until no job waits for a worker and none runs."""
        wait_for(self._is_idle, within_s=60, told="the end of all jobs")

    def pids(self, role: str) -> list[int]:
        """All processes of a role."""
        return [entry["pid"] for entry in self.jobyard.stats()["processes"] if entry["role"] == role]

    def wait_healthy(self) -> None:
        """Wait until every process in `/stats` exists and the system is healthy."""
        wait_for(self._is_healthy, within_s=30, told="a whole system")

    def stop(self) -> float:
        """Stop the system; the seconds that this took."""
        began = time.monotonic()
        self.jobyard.stop()
        return time.monotonic() - began

    def memory_mib(self) -> float:
        """PSS of the whole process tree."""
        return sum(memory_mib(process.pid) for process in self._tree())

    def cpu_s(self) -> dict[int, float]:
        """The CPU time that each living process of the tree has used so far."""
        return {process.pid: cpu_s(process.pid) for process in self._tree()}

    def cpu_since_s(self, before: Mapping[int, float]) -> float:
        """What the processes that live now have used since then; the last bit of one that has exited meanwhile is not known."""
        return sum(used - before.get(pid, 0.0) for pid, used in self.cpu_s().items())

    def cpu_by_role_since_s(self, before: Mapping[int, float]) -> dict[str, float]:
        """The same by role; children count for the role that forked them, and the template counts as one of its executors."""
        roles = {entry["pid"]: entry["role"] for entry in self.jobyard.stats()["processes"]}
        used_s: dict[str, float] = {}
        for process in self._tree():
            role = roles.get(process.pid) or roles.get(process.ppid(), "supervisor")
            part = "executor" if role == "template" else role
            used_s[part] = used_s.get(part, 0.0) + cpu_s(process.pid) - before.get(process.pid, 0.0)
        return used_s

    def process_count(self) -> int:
        """The number of the system's processes."""
        return len(self._tree())

    def _is_idle(self) -> bool:
        jobs = self.jobyard.stats()["jobs"]
        return not any(jobs.get(status) for status in ("claimed", "queued", "running"))

    def _is_healthy(self) -> bool:
        entries = self.jobyard.stats()["processes"]
        living = all(entry["status"] == "running" and psutil.pid_exists(entry["pid"]) for entry in entries)
        return living and self.jobyard.get("/health").status == HEALTHY

    def _tree(self) -> list[psutil.Process]:
        return tree(self.jobyard)


@contextmanager
def running_system(at: Path | None = None, **settings: object) -> Iterator[System]:
    """A running system, which is stopped and removed afterwards, whatever happens. `at`: a folder that is kept."""
    folder = at or Path(tempfile.mkdtemp(prefix="jobyard-bench-"))
    defaults: dict[str, object] = {"TASKS": "bench_tasks", "RETRY_BASE_S": 0, "LOG_LEVEL": "warning"}
    jobyard = Jobyard(folder, **(defaults | settings))
    system = System(jobyard, folder)
    try:
        began = time.monotonic()
        jobyard.start()
        system.start_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        system.fresh_mib = system.memory_mib()
        yield system
    finally:
        _end(jobyard)
        if at is None:
            shutil.rmtree(folder, ignore_errors=True)


def _end(jobyard: Jobyard) -> None:
    try:
        if jobyard.process is not None and not jobyard.has_ended():
            jobyard.stop()
    finally:
        if jobyard.process is not None:
            jobyard.kill_remains()
        jobyard.release_ports()


def cpu_s(pid: int) -> float:
    """The CPU time of a process so far; 0 when it is gone. Its resolution is a clock tick (10 ms), so divide it by many jobs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND
