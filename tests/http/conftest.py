"""The apps of one Jobyard, served by roles that run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from jobyard.api.front.health import Health
from jobyard.api.front.load_balancer import LoadBalancer
from jobyard.api.http.app import create_app
from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.request_metrics import RequestMetrics
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
from jobyard.engine.config import read_settings
from jobyard.engine.control.protocol import OVERVIEW
from jobyard.engine.control.snapshot import Snapshots
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.hosts.known_tasks import KnownTasks
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.jobs.unique_field import Asked
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.queue.queue import Queue
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.schedules.look import Look, Made, look_at
from jobyard.engine.schedules.new_job import scheduled_job
from jobyard.engine.schedules.schedule import Schedule
from jobyard.engine.store.port import ANYTHING
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.tasks.catalog import Catalog, defaults_of, write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.watcher.fires import Fires
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import Watcher
from jobyard.engine.wire.caller import NoAnswer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json, Ping
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World
from tests.support.builders import a_host_lease
from tests.support.control import FakeControl, a_row
from tests.support.network import FakeNetwork, FakePeer

NAMES = ("queue-6000", "scheduler-8081", "watcher-9001", "supervisor")
PARAMETERS = {"type": "object", "properties": {}}
UNIQUE = Asked(key="{doc}", until="begun", on_conflict="replace")
TASKS = {
    "echo": TaskOptions(), "resize": TaskOptions(max_retries=3, timeout_s=60, parameters=PARAMETERS),
    "index": TaskOptions(unique=UNIQUE._asdict()), "sync": TaskOptions(limit=("customer/{customer_id}",)),
}  # fmt: skip


class Backend:
    """Everything behind the apps; a name in `silent` does not answer, one in `answers` gives these, one in `counters` counts so."""

    def __init__(self, folder: Path, *, log: Log | None = None, **asked: str) -> None:
        folder.mkdir(exist_ok=True)
        self.settings = read_settings({"DATA_DIR": str(folder), **asked})
        self.world = World()
        self.log = log or Log(self.world, level="error")
        prepare_file(folder / "jobs.sqlite")
        self.store = SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)
        run_dir = RunDir(folder)
        run_dir.make()
        write_catalog(run_dir, TASKS)
        network = FakeNetwork()
        common = {"settings": self.settings, "world": self.world, "store": self.store, "network": network, "log": self.log}
        self.roles = {
            "scheduler-8081": Scheduler(owner="box:b00t:scheduler-8081:1", run_dir=run_dir, **common),  # type: ignore[arg-type]
            "queue-6000": Queue(owner="box:b00t:queue-6000:1", served=lambda: ANYTHING, **common),  # type: ignore[arg-type]
            "watcher-9001": Watcher(
                owner="box:b00t:watcher-9001:1", queue_names=lambda: ["queue-6000"], host_lease=a_host_lease(self.world),
                served=lambda: ANYTHING,
                recovery=Recovery(settings=self.settings, world=self.world, store=self.store, log=self.log, deaths=NoDeaths()),
                retention=Retention(settings=self.settings, world=self.world, store=self.store, log=self.log),
                fires=Fires(
                    settings=self.settings, world=self.world, store=self.store, log=self.log, tell_cancelled=lambda pairs: None,
                    defaults=KnownTasks(self.settings, Catalog(run_dir), OtherHosts(None, self.world)).defaults,
                ),
                **common,  # type: ignore[arg-type]
            ),
        }  # fmt: skip
        network.add("queue-6000")
        for role in self.roles.values():
            role.tick([])
        self.silent: set[str] = set()
        self.request_metrics = RequestMetrics(self.world, self.log)
        self.components = list(NAMES)
        self.control = LiveControl(self)
        self.counters: dict[str, ComponentCounters] = {}
        self.answers: dict[str, list[Message]] = {}
        self.asked: list[Message] = []

    def call(self, name: str, request: Message, *, timeout_s: float) -> Message:
        self.asked.append(request)
        if name in self.silent:
            raise NoAnswer(f"{name} does not answer", was_sent=True)
        if name in self.answers:
            return self.answers[name].pop(0)
        if name == "supervisor":
            return Json(body=b'{"status": "healthy"}')
        peer = FakePeer()
        self.roles[name].tick([peer.says(request)])
        return peer.received[-1]

    def publish(self) -> None:
        """What is counted now comes to control; of the silent ones it shows what they told before, and since when."""
        for name in self.components:
            if name in self.counters:
                self.control.publish(name, self.counters[name])
            elif name in self.roles and name not in self.silent:
                self.control.publish(name, self.roles[name].counters())
        since = self.world.monotonic() - 5
        self.control.write([a_row(name, silent_since=since if name in self.silent else None) for name in self.components])

    def call_all(self, names: Sequence[str], request: Ping, *, timeout_s: float) -> dict[str, Message | None]:
        return {name: None if name in self.silent else self.call(name, request, timeout_s=timeout_s) for name in names}

    def begin(self, name: str, request: Message) -> CompletedCall:
        return CompletedCall(self.call(name, request, timeout_s=1))

    def fires(self, *, at: datetime) -> None:
        """A watcher looks at the schedules at this time."""
        defaults = Defaults(max_retries=5, timeout_s=3600, tasks=defaults_of(TASKS))

        def decide(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
            def make(one: Schedule, fire_at: datetime) -> Job:
                return scheduled_job(one, job_id=self.world.object_id(), now=at, defaults=defaults)

            return look_at(schedule, now=at, living=living, room=9, make=make, made=made)

        self.store.schedules.fire_due(decide, now=at, limit=9)

    def client(self, name: str = "gateway-8080") -> FlaskClient:
        """A test client of this component's app."""
        caller = self
        snapshots = Snapshots(self.control, self.world)
        names = ["scheduler-8081"]
        health = Health(caller, schedulers=lambda: names, world=self.world, log=self.log)  # type: ignore[arg-type]
        balancer = LoadBalancer(caller, schedulers=lambda: names, health=health, world=self.world)  # type: ignore[arg-type]
        meter = ProcessMeter(self.world)
        views = {
            "jobs": Jobs(balancer, self.world), "logs": JobLogs(balancer, caller),  # type: ignore[arg-type]
            "component": Component(caller, name, snapshots=snapshots, world=self.world),  # type: ignore[arg-type]
            "gateway": Gateway(
                caller, balancer, components=lambda: self.components, meter=meter, snapshots=snapshots, world=self.world,  # type: ignore[arg-type]
            ),
            "pages": Pages(), "metrics": Metrics(
                balancer, snapshots=snapshots, meter=meter, request_metrics=self.request_metrics, world=self.world
            ),
            "history": History(snapshots, self.world), "schedules": Schedules(balancer), "limits": Limits(balancer),
            "workflows": Workflows(balancer), "leases": Leases(balancer), "hooks": Hooks(balancer),
        }  # fmt: skip
        app = create_app(
            name.rpartition("-")[0], views, guards=Guards(self.settings), error_handlers=ErrorHandlers(self.world, self.log)
        )
        return app.test_client()


class LiveControl(FakeControl):
    """Before it is read, everybody publishes."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend.world)
        self._backend = backend
        self.overviews = 0
        self.is_empty = False

    def call(self, name: str, method: str, *arguments: object) -> object:
        if name == OVERVIEW:
            self.overviews += 1
            if not self.is_away and not self.is_empty:
                self._backend.publish()
        return super().call(name, method, *arguments)


class CompletedCall:
    """A call that has its answer."""

    has_begun = False
    was_sent = True

    def __init__(self, answer: Message) -> None:
        self._answer = answer

    def wait(self, timeout_s: float) -> Message:
        return self._answer


class NoDeaths:
    """Proofs of death, of which there are none."""

    def proven(self, owners: object) -> list[str]:
        return []


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


@pytest.fixture
def client(backend: Backend) -> FlaskClient:
    return backend.client()
