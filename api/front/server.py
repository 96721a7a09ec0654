"""The front: one gunicorn on all documented ports; the port of a request selects the app.

    supervisor ──fork──▶ arbiter ──fork──▶ HTTP worker: event loop, threads, connections to the components, health check thread

The supervisor owns the listening sockets, so no connection is refused while a front is replaced. `api/front/http_worker.py`
describes how an HTTP worker waits for clients.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from jobyard.api.front.composition import PortDispatcher, compose
from jobyard.api.front.connections import connections_allowed
from jobyard.api.front.http_worker import KEEP_ALIVE_S, JsonWorker, refuse_repeated_key
from jobyard.engine.config import Settings
from jobyard.engine.logs import Log
from jobyard.engine.process_control import die_with_parent, set_title
from jobyard.engine.supervisor.heartbeat import Heartbeat
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

HTTP_WORKERS = 1
"""With all connections in one process, submissions that arrive together are sent, committed and answered together. A worker that
dies is replaced within a tenth of a second; new connections wait in the listening sockets until then."""
THREADS = 64
GRACEFUL_STOP_S = 15
MEMORY = "/dev/shm"
OTHER_SIGNALS = (
    signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGINT,
)  # fmt: skip


def serve_front(
    *, settings: Settings, ports: Mapping[int, str], listeners: Mapping[int, socket.socket], run_dir: RunDir, world: World,
    log: Log, heartbeat: Heartbeat, parent: int, name: str,
) -> int:  # fmt: skip
    """Run the front in a process that was forked for it; never returns normally (gunicorn raises `SystemExit`)."""
    die_with_parent(parent)
    set_title(f"jobyard: {name}")
    front = Front(settings=settings, ports=ports, listeners=listeners, run_dir=run_dir, log=log, heartbeat=heartbeat, name=name)
    HeartbeatArbiter(front, heartbeat).run()
    return 0


class Front(BaseApplication):  # type: ignore[misc]
    """Our settings for gunicorn, and the WSGI app of one of its workers."""

    def __init__(
        self, *, settings: Settings, ports: Mapping[int, str], listeners: Mapping[int, socket.socket], run_dir: RunDir, log: Log,
        heartbeat: Heartbeat, name: str,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._ports = ports
        self._listeners = listeners
        self._run_dir = run_dir
        self._log = log
        self._heartbeat = heartbeat
        self._name = name
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn's `BaseApplication`."""
        connections = connections_allowed()
        options = {
            "bind": [f"fd://{listener.fileno()}" for listener in self._listeners.values()], "workers": HTTP_WORKERS,
            "worker_class": JsonWorker, "threads": min(THREADS, connections // 2), "worker_connections": connections,
            "keepalive": KEEP_ALIVE_S,
            "timeout": max(1, round(self._settings.hang_s)), "graceful_timeout": GRACEFUL_STOP_S, "control_socket_disable": True,
            "proc_name": self._name, "loglevel": "critical", "limit_request_fields": 100, "limit_request_field_size": 8190,
            "forwarded_allow_ips": "",  # else any local client could change SCRIPT_NAME by a header
            "worker_tmp_dir": heartbeat_folder(self._run_dir.path),
            "pre_request": refuse_repeated_key, "post_fork": self._after_fork,
            "post_worker_init": lambda worker: self._heartbeat.beat(),
        }  # fmt: skip
        for option, value in options.items():
            self.cfg.set(option, value)

    def load(self) -> PortDispatcher:
        """Called in each HTTP worker, after its fork."""
        return compose(settings=self._settings, ports=self._ports, run_dir=self._run_dir, log=self._log)

    def _after_fork(self, arbiter: Arbiter, worker: ThreadWorker) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        die_with_parent(worker.ppid)
        set_title(f"jobyard: {self._name} http")


def heartbeat_folder(run_dir: Path, memory: str = MEMORY) -> str:
    """Where gunicorn keeps the file by which it sees its worker live: in memory, else below DATA_DIR.

    Its own choice is the system's folder for temporary files, which nobody can write where the root file system is read-only.
    """
    return memory if os.access(memory, os.W_OK | os.X_OK) else str(run_dir)


class HeartbeatArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter with heartbeats for the supervisor, which alone reloads and upgrades it."""

    def __init__(self, app: Front, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        super().__init__(app)

    def murder_workers(self) -> None:
        """Called on every iteration of its loop. The first heartbeat is left to an HTTP worker, once it can serve requests."""
        if self._heartbeat.has_begun():
            self._heartbeat.beat()
        super().murder_workers()

    def manage_workers(self) -> None:
        """Called first after gunicorn has set its own process title."""
        set_title(f"jobyard: {self.proc_name}")
        super().manage_workers()

    def spawn_worker(self) -> int:
        """Block SIGTERM until the child has reset our handler, which would swallow it: we would wait for the child in vain."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def init_signals(self) -> None:
        """Keep only the signals for stopping and reaping."""
        super().init_signals()
        for number in OTHER_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
