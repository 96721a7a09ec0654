"""Builds what one HTTP worker serves: an app for each port, and the fast path and the long poll beside them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from jobyard.api.front.affinity import Affinity
from jobyard.api.front.client_watch import ClientWatch
from jobyard.api.front.connections import connections_allowed
from jobyard.api.front.fast_path import FastPath, FastRoute, InThread
from jobyard.api.front.health import Health
from jobyard.api.front.lease_poll import LeasePoll
from jobyard.api.front.load_balancer import LoadBalancer
from jobyard.api.front.long_poll import MAX_WAITING, LongPoll, ResponseDeferred
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.front.waits import Waits
from jobyard.api.http.app import create_app
from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.reply import Reply
from jobyard.api.http.request_metrics import HEADER, OTHER, REQUEST_ID, ROUTE, RequestMetrics, with_id
from jobyard.api.http.routes import GATEWAY, SCHEDULER
from jobyard.api.http.waiting import LONG_POLL, WAIT, Wait
from jobyard.api.views.component import Component
from jobyard.api.views.gateway import Gateway
from jobyard.api.views.history import History
from jobyard.api.views.hooks import Hooks
from jobyard.api.views.job_logs import JobLogs
from jobyard.api.views.jobs import Jobs
from jobyard.api.views.leases import Leases
from jobyard.api.views.limits import Limits
from jobyard.api.views.metrics import Metrics
from jobyard.api.views.pages import Pages
from jobyard.api.views.process_meter import ProcessMeter
from jobyard.api.views.schedules import Schedules
from jobyard.api.views.workflows import Workflows
from jobyard.engine.config import Settings
from jobyard.engine.control.client import Control
from jobyard.engine.control.snapshot import Snapshots
from jobyard.engine.logs import Log
from jobyard.engine.store.bounds import MONGO_CURSOR, SQLITE_CURSOR
from jobyard.engine.wire.caller import Caller
from jobyard.engine.wire.hub import Hub
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
SUBMISSIONS = {GATEWAY: b"POST /api/jobs HTTP/1.1", SCHEDULER: b"POST /schedule HTTP/1.1"}


class Composition:
    """The objects that all ports of one HTTP worker share."""

    def __init__(self, *, settings: Settings, run_dir: RunDir, log: Log) -> None:
        self.world = World()
        self._run_dir = run_dir
        self._guards = Guards(settings)
        self._pages = Pages()
        self._cursor_pattern = SQLITE_CURSOR if settings.mongo_uri is None else MONGO_CURSOR
        self._caller = Caller(run_dir, self.world)
        self.client_watch = ClientWatch()
        self._snapshots = Snapshots(Control(run_dir, self.world, name="front"), self.world)
        self.error_handlers = ErrorHandlers(self.world, log)
        self.request_metrics = RequestMetrics(self.world, log)
        self.health = Health(self._caller, schedulers=lambda: run_dir.components(SCHEDULER), world=self.world, log=log)
        self.apps: dict[str, WsgiApp] = {}
        self.fast_routes: dict[tuple[str, bytes], FastRoute] = {}

    def add_port(self, port: int, name: str) -> None:
        """Register the component that this port serves."""
        kind = name.rpartition("-")[0]
        names = self.health.schedulers if kind == GATEWAY else partial(list, [name])
        scheduler = LoadBalancer(
            self._caller, schedulers=names, health=self.health, world=self.world, is_client_gone=self.client_watch.is_gone
        )  # fmt: skip
        jobs = Jobs(scheduler, self.world)
        views = self._views(name, scheduler, jobs)
        self.apps[str(port)] = create_app(kind, views, guards=self._guards, error_handlers=self.error_handlers)
        if kind in SUBMISSIONS:
            route = SUBMISSIONS[kind].decode().removesuffix(" HTTP/1.1")
            self.fast_routes[str(port), SUBMISSIONS[kind]] = FastRoute(
                jobs=jobs, scheduler=scheduler, affinity=Affinity(scheduler, self.world), route=route
            )

    def fast_path(self, in_thread: InThread) -> FastPath:
        """Built by the HTTP worker, which knows its own threads."""
        return FastPath(
            self.fast_routes, network=Hub(self._run_dir), guards=self._guards, error_handlers=self.error_handlers,
            health=self.health, world=self.world, request_metrics=self.request_metrics, in_thread=in_thread,
        )  # fmt: skip

    def waits(self) -> Waits:
        """Limited to half of the connections, so that waiting clients cannot keep all others out."""
        jobs = LongPoll(
            network=Hub(self._run_dir), round_robin=RoundRobin(self.health.schedulers, self.health), world=self.world,
            max_waiting=min(MAX_WAITING, connections_allowed() // 2),
        )  # fmt: skip
        round_robin = RoundRobin(self.health.schedulers, self.health)
        return Waits(jobs, LeasePoll(network=Hub(self._run_dir), round_robin=round_robin, world=self.world))

    def _views(self, name: str, scheduler: LoadBalancer, jobs: Jobs) -> dict[str, object]:
        caller, snapshots, world = self._caller, self._snapshots, self.world
        return {
            "jobs": jobs, "logs": JobLogs(scheduler, caller), "pages": self._pages, "schedules": Schedules(scheduler),
            "leases": Leases(scheduler, self.client_watch.is_gone), "hooks": Hooks(scheduler),
            "limits": Limits(scheduler), "workflows": Workflows(scheduler),
            "component": Component(caller, name, snapshots=snapshots, world=world),
            "gateway": Gateway(
                caller, scheduler, components=self._run_dir.components, meter=ProcessMeter(world), snapshots=snapshots, world=world,
                cursor_pattern=self._cursor_pattern,
            ),
            "metrics": Metrics(
                scheduler, snapshots=snapshots, meter=ProcessMeter(world), request_metrics=self.request_metrics, world=world
            ),
            "history": History(snapshots, world),
        }  # fmt: skip


def compose(*, settings: Settings, ports: Mapping[int, str], run_dir: RunDir, log: Log) -> PortDispatcher:
    """Build everything that an HTTP worker needs, and start its health checks in a thread."""
    composition = Composition(settings=settings, run_dir=run_dir, log=log)
    for port, name in ports.items():
        composition.add_port(port, name)
    threading.Thread(target=composition.health.run, name="health checks", daemon=True).start()
    return PortDispatcher(
        composition.apps, composition.fast_path, composition.waits(), error_handlers=composition.error_handlers,
        request_metrics=composition.request_metrics, client_watch=composition.client_watch,
    )  # fmt: skip


class PortDispatcher:
    """The WSGI app of all ports, and the two paths that bypass it: the fast path and the long poll."""

    def __init__(
        self, apps: Mapping[str, WsgiApp], fast_path: Callable[..., FastPath], waits: Waits, *,
        error_handlers: ErrorHandlers, request_metrics: RequestMetrics, client_watch: ClientWatch
    ) -> None:  # fmt: skip
        self._apps = apps
        self.fast_path = fast_path
        self.waits = waits
        self._error_handlers = error_handlers
        self.request_metrics = request_metrics
        self._client_watch = client_watch

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[LONG_POLL] = self.waits
        request_id = self.request_metrics.begin(environ)
        statuses: list[int] = []

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            statuses.append(int(status[:3]))
            return start_response(status, [*headers, (HEADER, request_id)], *more)

        with self._client_watch.watch(environ.get("gunicorn.socket")):
            body = self._apps[environ["SERVER_PORT"]](environ, start)
        self.request_metrics.end(environ, environ.get(ROUTE, OTHER), statuses[-1] if statuses else 500)
        wait = environ.get(WAIT)
        if isinstance(wait, Wait):
            raise ResponseDeferred(wait)
        return body

    def answer_after(self, wait: Wait) -> Reply:
        """The reply once the wait is over; called in a thread."""
        try:
            return with_id(wait.answer(), wait.request_id)
        except Exception as error:
            return with_id(self._error_handlers.reply_to(error, {REQUEST_ID: wait.request_id}), wait.request_id)
