"""The front: one gunicorn on all documented ports, the app picked by the port that a request came in on.

    supervisor ──fork──▶ arbiter ──fork──▶ HTTP workers: a loop, threads, connections to the components, a thread for health checks

The listening sockets are the supervisor's, so that no connection is refused while a front is replaced. How an HTTP worker
waits for clients is in `api/http_worker.py`.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from api.app import create_app
from api.balancer import LoadBalancer
from api.component import Component
from api.express import Express, Lane
from api.faults import Faults
from api.gateway import Gateway
from api.guards import Guards
from api.hall import HALL, SEATS, WAIT, Hall, Parked, Wait
from api.health import Health
from api.history import History
from api.http_worker import KEEP_ALIVE_S, JsonWorker, refuse_repeated_key
from api.job_logs import JobLogs
from api.jobs import Jobs
from api.limits import connections_allowed
from api.metrics import Metrics
from api.pages import Pages
from api.processes import ProcessMeter
from api.reply import Reply
from api.routes import GATEWAY, SCHEDULER
from api.traffic import HEADER, OTHER, REQUEST_ID, ROUTE, Traffic, with_id
from api.turns import Turns
from engine.config import Settings
from engine.logs import Log
from engine.process_control import die_with_parent, set_title
from engine.processes.pulse import Heartbeat
from engine.wire.caller import Caller
from engine.wire.hub import Hub
from engine.wire.run_dir import RunDir
from engine.world import World

HTTP_WORKERS = 1
"""With all connections in one process, what comes at the same time is sent, committed and answered together. When it dies it is
back within a tenth of a second, and new connections wait in their listening sockets until then."""
THREADS = 64
LEAVE_S = 15
OTHER_SIGNALS = (
    signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGINT,
)  # fmt: skip

SUBMISSIONS = {GATEWAY: b"POST /api/jobs HTTP/1.1", SCHEDULER: b"POST /schedule HTTP/1.1"}
"""The request lines of what goes by the express."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve_front(
    *, settings: Settings, ports: Mapping[int, str], listeners: Mapping[int, socket.socket], run_dir: RunDir, world: World,
    log: Log, heartbeat: Heartbeat, parent: int, name: str,
) -> int:  # fmt: skip
    """The life of a front, in a process that was forked for it; never returns normally (gunicorn leaves by `SystemExit`)."""
    die_with_parent(parent)
    set_title(f"jobyard: {name}")
    front = Front(settings=settings, ports=ports, listeners=listeners, run_dir=run_dir, log=log, heartbeat=heartbeat, name=name)
    BeatingArbiter(front, heartbeat).run()
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
            "timeout": max(1, round(self._settings.hang_s)), "graceful_timeout": LEAVE_S, "control_socket_disable": True,
            "proc_name": self._name, "loglevel": "critical", "limit_request_fields": 100, "limit_request_field_size": 8190,
            "forwarded_allow_ips": "",  # or a header of any local client could move paths
            "pre_request": refuse_repeated_key, "post_fork": self._after_fork,
            "post_worker_init": lambda worker: self._heartbeat.beat(),
        }  # fmt: skip
        for option, value in options.items():
            self.cfg.set(option, value)

    def load(self) -> Site:
        """Called in each HTTP worker, after its fork."""
        world = World()
        faults = Faults(world, self._log)
        caller = Caller(self._run_dir, world)
        health = Health(caller, schedulers=lambda: self._run_dir.components(SCHEDULER), world=world, log=self._log)
        threading.Thread(target=health.check_for_ever, name="health checks", daemon=True).start()
        guards = Guards(self._settings)
        pages = Pages()
        traffic = Traffic(world, self._log)
        apps: dict[str, WsgiApp] = {}
        lanes: dict[tuple[str, bytes], Lane] = {}
        for port, name in self._ports.items():
            kind = name.rpartition("-")[0]
            names = health.schedulers if kind == GATEWAY else partial(list, [name])
            line = LoadBalancer(caller, schedulers=names, health=health, world=world)
            jobs = Jobs(line, world)
            views = {
                "jobs": jobs, "logs": JobLogs(line, caller), "component": Component(caller, name), "pages": pages,
                "gateway": Gateway(caller, line, components=self._run_dir.components, meter=ProcessMeter(world)),
                "metrics": Metrics(
                    caller, line, components=self._run_dir.components, meter=ProcessMeter(world), traffic=traffic
                ),
                "history": History(caller, components=self._run_dir.components, world=world),
            }  # fmt: skip
            apps[str(port)] = create_app(kind, views, guards=guards, faults=faults)
            if kind in SUBMISSIONS:
                lanes[str(port), SUBMISSIONS[kind]] = Lane(
                    jobs=jobs, line=line, route=SUBMISSIONS[kind].decode().removesuffix(" HTTP/1.1")
                )
        express = partial(
            Express, lanes, network=Hub(self._run_dir), guards=guards, faults=faults, health=health, world=world,
            traffic=traffic,
        )  # fmt: skip
        seats = min(SEATS, connections_allowed() // 2)  # or those who wait would keep all others out
        hall = Hall(network=Hub(self._run_dir), turns=Turns(health.schedulers, health), world=world, seats=seats)
        return Site(apps, express, hall, faults=faults, traffic=traffic)

    def _after_fork(self, arbiter: Arbiter, worker: ThreadWorker) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        die_with_parent(worker.ppid)
        set_title(f"jobyard: {self._name} http")


class Site:
    """The WSGI app of all ports, and what goes past it."""

    def __init__(
        self, apps: Mapping[str, WsgiApp], express: Callable[..., Express], hall: Hall, *, faults: Faults, traffic: Traffic
    ) -> None:  # fmt: skip
        self._apps = apps
        self.express = express
        self.hall = hall
        self._faults = faults
        self.traffic = traffic

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[HALL] = self.hall
        request_id = self.traffic.begin(environ)
        told: list[int] = []

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            told.append(int(status[:3]))
            return start_response(status, [*headers, (HEADER, request_id)], *more)

        body = self._apps[environ["SERVER_PORT"]](environ, start)
        self.traffic.end(environ, environ.get(ROUTE, OTHER), told[-1] if told else 500)
        wait = environ.get(WAIT)
        if isinstance(wait, Wait):
            raise Parked(wait)
        return body

    def answer_after(self, wait: Wait) -> Reply:
        """For a thread, once the wait is over."""
        try:
            return with_id(wait.answer(), wait.request_id)
        except Exception as wrong:
            return with_id(self._faults.tell(wrong, {REQUEST_ID: wait.request_id}), wait.request_id)


class BeatingArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter, showing the supervisor that it lives. It is reloaded and upgraded by its supervisor only."""

    def __init__(self, app: Front, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        super().__init__(app)

    def murder_workers(self) -> None:
        """Called on every turn of its loop; the first sign of life is an HTTP worker's, which can serve then."""
        if self._heartbeat.has_begun():
            self._heartbeat.beat()
        super().murder_workers()

    def manage_workers(self) -> None:
        """Called first after gunicorn has given the process a title of its own."""
        set_title(f"jobyard: {self.proc_name}")
        super().manage_workers()

    def spawn_worker(self) -> int:
        """SIGTERM waits until the child has dropped our handler, on which it would be lost: we would wait for the child in vain."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return int(super().spawn_worker())
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def init_signals(self) -> None:
        """Only to stop and to reap."""
        super().init_signals()
        for number in OTHER_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
