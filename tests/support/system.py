"""A real Jobyard in its own folder and on its own ports, for tests that start, query, kill and stop it.

    with Jobyard(tmp_path, WORKERS=1) as jobyard:
        job_id = jobyard.submit(payload="hello")
        jobyard.kill("worker-7001")
        jobyard.wait_for_job(job_id, status="completed")

Leaving the `with` stops it, and fails if anything is left: a process, a socket name, a pid file.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from jobyard.engine.config import read_settings
from jobyard.engine.topology import all_components
from tests.support.process_mark import MARK
from tests.support.waiting import LIMIT_S, wait_for

CHECKOUT = Path(__file__).resolve().parents[2]
TASK_MODULES = (CHECKOUT / "tests/system/task_modules", CHECKOUT / "tests/bench/task_modules")
REMOVED = (".sock", ".hints", ".pid")
READY = "Jobyard is ready"
OFFSETS = [start + step for start in range(10_000, 22_001, 4_000) for step in range(0, 890, 10)]
"""No two offsets give any components the same port: the roles' first ports are 921 to 3,001 apart. All ports are below the range
that Linux assigns to clients, where a free port could be taken before it is bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Jobyard:
    """One Jobyard on one data folder. `settings`: passed in the environment, by their names."""

    def __init__(
        self, folder: Path, *, words: tuple[str, ...] = ("start-all",), program: tuple[str, ...] = ("-m", "jobyard"),
        prefix: tuple[str, ...] = (), python: Path | str = sys.executable, **settings: object,
    ) -> None:  # fmt: skip
        """`python` executes `program`. `prefix`: a command that runs it, such as `ip netns exec …`; then HTTP cannot reach it."""
        self.data_dir = folder / "data"
        self.output_path = folder / "output.txt"
        self._folder = folder
        self._command = [*prefix, str(python), *program, *words]
        asked = {name: str(value) for name, value in settings.items()}
        self._seen: set[psutil.Process] = set()
        self._offset_lock: int | None = None
        self.port_offset = int(asked.get("PORT_OFFSET", 0)) or self._find_ports(asked)
        self._environment = self.environment_for(folder) | asked | {"PORT_OFFSET": str(self.port_offset)}
        self.process: subprocess.Popen[bytes] | None = None

    # ---- start and stop

    def add_settings(self, **settings: object) -> Jobyard:
        """Add settings, for those that depend on the ports."""
        self._environment |= {name: str(value) for name, value in settings.items()}
        return self

    def start(self, *, wait_ready: bool = True) -> Jobyard:
        """Start it, and by default wait until it reports that it is ready."""
        with self.output_path.open("ab") as output:
            start_of_output = output.tell()
            self.process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )  # fmt: skip
        if wait_ready:
            self.wait_ready(start_of_output)
        return self

    def wait_ready(self, start_of_output: int = 0) -> None:
        """Wait until it reports that it is ready."""
        wait_for(lambda: READY in self.output()[start_of_output:] or self.has_ended(), told="the start")
        if READY not in self.output()[start_of_output:]:
            raise AssertionError(f"it did not start:\n{self.output()}")
        self.look_at_processes()

    def has_ended(self) -> bool:
        """Whether the process that was started has ended."""
        return self._started().poll() is not None

    def stop(self, signal_number: int = signal.SIGTERM, *, within_s: float = LIMIT_S) -> int:
        """Stop it by a signal; its exit status."""
        self.look_at_processes()
        self._started().send_signal(signal_number)
        return self.wait_end(within_s=within_s)

    def stop_again(self, signal_number: int = signal.SIGTERM, *, within_s: float = LIMIT_S) -> int:
        """Repeat a stop until it ends: a second one counts only some time after the first; its exit status."""
        self.look_at_processes()
        wait_for(lambda: self.has_ended() or self._started().send_signal(signal_number), within_s=within_s, told="a second stop")
        return self.wait_end()

    def wait_end(self, *, within_s: float = LIMIT_S) -> int:
        """Wait for its end; its exit status."""
        return self._started().wait(within_s)

    def __enter__(self) -> Jobyard:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if not self.has_ended():
                self.stop()
            self.check_nothing_is_left()
        except BaseException:
            self.kill_remains()
            if kind is None:
                raise
        finally:
            self.release_ports()
            if kind is not None:
                print(f"---- what it said\n{self.output()[-20_000:]}")

    def release_ports(self) -> None:
        """Release the ports for other tests."""
        if self._offset_lock is not None:
            os.close(self._offset_lock)
            self._offset_lock = None

    def output(self) -> str:
        """Everything that it wrote to stdout and stderr."""
        return self.output_path.read_text(errors="replace")

    # ---- processes

    @property
    def guard_pid(self) -> int:
        """The pid of the process that was started."""
        return self._started().pid

    def stats(self) -> Any:
        """`/stats` of the gateway."""
        return self.get("/stats").json

    def processes(self) -> dict[str, Any]:
        """The entries of `/stats` by name, documented ports (without the offset)."""
        return {self._documented(entry["name"]): entry for entry in self.stats()["processes"]}

    def pid(self, name: str) -> int:
        """The pid of a process in `/stats`, by its documented name such as `worker-7001`."""
        return int(self.processes()[name]["pid"])

    def kill(self, name: str, signal_number: int = signal.SIGKILL) -> int:
        """Send a signal to a process by its documented name; the pid."""
        pid = self.pid(name)
        os.kill(pid, signal_number)
        return pid

    def wait_replaced(self, name: str, pid: int, *, within_s: float = LIMIT_S) -> int:
        """Wait until a new process has replaced this one and runs; its pid."""
        told = f"a successor of {name}"
        wait_for(
            lambda: self.processes()[name]["pid"] not in (None, pid) and self.processes()[name]["status"] == "running",
            within_s=within_s, told=told,
        )  # fmt: skip
        return self.pid(name)

    def kill_whole(self) -> None:
        """Kill everything, as a power failure does. It need not be stopped afterwards."""
        processes = self.look_at_processes()
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that no process sees another one die
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal_number)
        self.wait_end()
        for path in (self.data_dir / "run").glob("*"):
            if path.suffix in REMOVED:
                path.unlink()

    def look_at_processes(self) -> set[psutil.Process]:
        """All its living processes: those in its folder, their descendants, and those that were found before."""
        found: set[psutil.Process] = set()
        for process in psutil.process_iter():
            try:
                if process.pid == self._started().pid or Path(process.cwd()).is_relative_to(self._folder):
                    found.update([process, *process.children(recursive=True)])
            except (psutil.Error, OSError):
                continue
        self._seen |= found
        return {process for process in self._seen if _lives(process)}

    def remains(self) -> list[str]:
        """What is left of it: processes, socket names, pid files."""
        processes = [f"{process.pid} {_words(process)}" for process in self.look_at_processes()]
        run_dir = self.data_dir / "run"
        return processes + [path.name for path in run_dir.glob("*") if path.suffix in REMOVED]

    def check_nothing_is_left(self, *, within_s: float = LIMIT_S) -> None:
        """Fails if something is left."""
        wait_for(lambda: not self.look_at_processes(), within_s=within_s, told=f"the end of {self.remains()}")
        assert not self.remains()

    def kill_remains(self) -> None:
        """Kill what is left of it, at the end of a failed test."""
        for process in self.look_at_processes():
            try:
                process.kill()
            except psutil.Error:
                continue
        if self.process is not None:
            self.process.wait(LIMIT_S)

    # ---- HTTP

    def port(self, documented: int = 8080) -> int:
        """The port here of a documented port."""
        return documented + self.port_offset

    def ask(
        self, method: str, path: str, body: object = None, *, port: int = 8080, headers: dict[str, str] | None = None
    ) -> Answer:  # fmt: skip
        """Send a request; `body` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(port), timeout=LIMIT_S)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, data, kind | (headers or {}))
            response = connection.getresponse()
            return Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        finally:
            connection.close()

    def get(self, path: str, *, port: int = 8080) -> Answer:
        """Send a GET request."""
        return self.ask("GET", path, port=port)

    def submit(self, payload: object = None, **fields: object) -> str:
        """Submit a job; its id."""
        answer = self.ask("POST", "/api/jobs", {"payload": payload, **fields})
        assert answer.status == 201, answer
        return str(answer.json["job_id"])

    def job(self, job_id: str) -> Any:
        """A stored job."""
        return self.get(f"/api/jobs/{job_id}").json

    def executions(self, job_id: str) -> Any:
        """The attempts at a job."""
        return self.get(f"/api/jobs/{job_id}/executions").json

    def wait_for_job(self, job_id: str, *, status: str = "completed", within_s: float = LIMIT_S) -> Any:
        """The job, once it has this status."""
        wait_for(lambda: self.job(job_id)["status"] == status, within_s=within_s, told=f"job {job_id} {status}")
        return self.job(job_id)

    # ---- helpers

    def _started(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "it was not started"
        return self.process

    @staticmethod
    def environment_for(folder: Path) -> dict[str, str]:
        """The environment of a command on the data folder in this folder; tasks are found in the tests' folders and in this one."""
        search = [*map(str, TASK_MODULES), str(folder), os.environ.get("PYTHONPATH", "")]
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", MARK) if name in os.environ}
        return inherited | {
            "PYTHONPATH": os.pathsep.join(filter(None, search)), "DATA_DIR": str(folder / "data"),
        }  # fmt: skip

    def _documented(self, name: str) -> str:
        role, dash, port = name.rpartition("-")
        return f"{role}-{int(port) - self.port_offset}" if dash and port.isdigit() else name

    def _find_ports(self, asked: dict[str, str]) -> int:
        """An offset at which all ports are free, reserved by a lock until `release_ports`."""
        for offset in random.sample(OFFSETS, 200):
            fd = _open_shared(Path(tempfile.gettempdir()) / f"jobyard-test-{offset}.lock")
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            if all(_is_free(port) for port in _ports(offset, asked)):
                self._offset_lock = fd
                return offset
            os.close(fd)
        raise AssertionError("no free ports")


def _open_shared(path: Path) -> int:
    """A file that suites of other users lock, too. Where the folder is sticky, the kernel may refuse O_CREAT for another's file."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
        return os.open(path, os.O_RDONLY)


def _ports(offset: int, asked: dict[str, str]) -> list[int]:
    counts = {name: asked[name] for name in ("SCHEDULERS", "WATCHERS", "WORKERS") if name in asked}
    return [component.port for component in all_components(read_settings({**counts, "PORT_OFFSET": str(offset)}))]


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        return "gone"
