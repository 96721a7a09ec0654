"""Private servers for the peers: on a free port or a Unix socket, with data in a temporary folder that is removed afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.environment import CannotRun, last_line

START_S = 20.0
STOP_S = 10.0
POLL_S = 0.02
POSTGRES_PROGRAMS = "/usr/lib/postgresql"
UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `pid`: None when there is no process because the URL is a file."""

    url: str
    words: str = ""
    pid: int | None = None


@contextlib.contextmanager
def redis() -> Iterator[Server]:
    """Redis with its defaults: without a log, so the last accepted jobs may be lost with it."""
    program = find_program("redis-server", package="redis-server")
    with _folder() as folder, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        held.close()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no"]
        words = _said([program, "--version"]).split(" sha=")[0].replace("server v=", "")
        with _running(command, folder, lambda: _answers(port)) as pid:
            yield Server(url=f"redis://127.0.0.1:{port}/0", words=words, pid=pid)


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """PostgreSQL with its defaults (fsync on), on a Unix socket only. It refuses root, so for root it runs as another user."""
    program, initdb = (find_program(name, _postgres_folders(), package="postgresql") for name in ("postgres", "initdb"))
    with _folder() as folder:
        data = folder / "data"
        prefix = _unprivileged(folder)
        _said([*prefix, initdb, "-D", str(data), "-U", "bench", "--auth=trust", "--no-instructions", "--encoding=UTF8"])
        command = [*prefix, program, "-D", str(data), "-k", str(folder), "-c", "listen_addresses="]
        path = folder / ".s.PGSQL.5432"
        with _running(command, folder, path.is_socket, stop=signal.SIGINT) as pid:
            yield Server(url=f"host={folder} user=bench dbname=postgres", words=_said([program, "--version"]).strip(), pid=pid)


@contextlib.contextmanager
def file() -> Iterator[Server]:
    """A database file."""
    with _folder() as folder:
        yield Server(url=str(folder / "jobs.db"))


Serve = Callable[[], contextlib.AbstractContextManager[Server]]


@contextlib.contextmanager
def _running(command: Sequence[str], folder: Path, is_up: Callable[[], bool], stop: int = signal.SIGTERM) -> Iterator[int]:
    said = folder / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        give_up_at = time.monotonic() + START_S
        while not is_up():
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise CannotRun(f"{Path(command[0]).name} does not start: {last_line(said.read_text(errors='replace'))}")
            time.sleep(POLL_S)
        yield process.pid
    finally:
        process.send_signal(stop)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jobyard-peer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def find_program(name: str, folders: Sequence[str] = (), *, package: str) -> str:
    """The path of a program, in these folders or on PATH. `package`: the one to install when it is missing."""
    found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"]))
    if found is None:
        raise CannotRun(f"{name} is not installed (Debian and Ubuntu: apt install {package})")
    return found


def _postgres_folders() -> list[str]:
    return [str(path) for path in sorted(Path(POSTGRES_PROGRAMS).glob("*/bin"), reverse=True)]


def _unprivileged(folder: Path) -> list[str]:
    """A command prefix that runs it as a user other than root; the folder is given to that user."""
    if os.geteuid() != 0:
        return []
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise CannotRun("PostgreSQL refuses to run as root, and there is no other user to run it as")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CannotRun(f"{Path(command[0]).name} fails: {last_line(done.stderr)}")
    return done.stdout
