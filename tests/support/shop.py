"""A real worker with real children over real sockets, on a real store; the test plays the queue."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from jobyard.engine.config import read_settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.executor.packets import send_packet
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Execution, Job, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.logs import Log
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.function import TaskFunction
from jobyard.engine.tasks.registry import DEFINED, Registry, Task, TaskOptions
from jobyard.engine.template.messages import Hello, Retire, encode
from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.wire.hub import Envelope, Hub, Stream
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.queue_messages import Ack, Leased, Release, Want, Withdrawn
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.executor_handle import ExecutorHandle
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.worker.template_line import SocketConnector
from jobyard.engine.worker.worker import Worker
from jobyard.engine.world import World
from tests.support.builders import a_host_lease, a_job
from tests.support.claims import WATCHER, WORKER
from tests.support.memory_store import MemoryStore
from tests.support.templates import ForkedTemplate
from tests.support.waiting import LIMIT_S, wait_for

QUEUE = "queue-6000"


class FailingStore(SqliteStore):
    """Is unavailable while it is told to be."""

    is_down = False

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        if self.is_down:
            raise StoreUnavailable("told to be down")
        return super().apply(changes)


class Shop:
    """See the module."""

    def __init__(
        self, folder: Path, tasks: dict[str, Callable[..., object]], *, hosts: MemoryStore | None = None, **asked: str
    ) -> None:  # fmt: skip
        """`hosts`: where its host gives its signs of life, when it is not alone."""
        self.settings = read_settings({"DATA_DIR": str(folder), "CONCURRENCY": "2", "RETRY_BASE_S": "10", **asked})
        self.world = World()
        prepare_file(folder / "jobs.sqlite")
        self.store = FailingStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)
        run_dir = RunDir(folder)
        run_dir.make()
        self.queue_hub, self.hub = Hub(run_dir), Hub(run_dir)
        self.queue_hub.listen(QUEUE)
        self.peer: Stream | None = None
        self.heard: list[Message] = []
        self.sent = 0
        self.confirms_closing = True
        self.log_path = folder / "log"
        log_fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT)
        self.registry = Registry()
        for name, function in tasks.items():
            known = DEFINED.get(function.name) if isinstance(function, TaskFunction) else None
            self.registry.add(known or Task(name=name, function=function, options=TaskOptions()))
        write_catalog(run_dir, self.registry.described())
        self.folder = folder
        self.template = ForkedTemplate(folder, self.registry)
        log = Log(self.world, process="worker-7001", fd=log_fd)
        templates = TemplateClient(
            connector=SocketConnector(lambda: str(self.template.path)), hello=Hello(owner=WORKER, title="jobyard: test executor"),
            new_handle=lambda number: ExecutorHandle(number, world=self.world, network=self.hub), world=self.world,
            network=self.hub, log=log,
        )  # fmt: skip
        self.worker = Worker(
            owner=WORKER, settings=self.settings, world=self.world, store=self.store, network=self.hub,
            log=log, templates=templates, queue_names=lambda: [QUEUE], run_dir=run_dir,
            host_lease=a_host_lease(self.world, hosts=hosts, lease_s=self.settings.lease_s),
        )  # fmt: skip
        self.until(lambda: self.pids() and all(self.pids()))

    def replace_template(self) -> None:
        """The old one was killed; another takes its place."""
        self.template.end()
        self.template = ForkedTemplate(self.folder, self.registry)

    def switch_template(self) -> None:
        """Another one is ready, and the old one is told so."""
        old, self.template = self.template, ForkedTemplate(self.folder, self.registry, name="template.2.spawn")
        send_packet(old.line, encode(Retire()))

    def turn(self, within_s: float = 0.01) -> None:
        """One turn of the worker and of the queue that the test plays."""
        self.worker.tick(self.hub.poll(within_s))
        for envelope in self.queue_hub.poll(0):
            self.hear(envelope)

    def hear(self, envelope: Envelope) -> None:
        if isinstance(envelope.peer, Stream):
            self.peer = envelope.peer
        self.heard.append(envelope.message)
        if isinstance(envelope.message, Want) and envelope.message.is_closed and self.confirms_closing:
            self.confirm_closing()

    def confirm_closing(self) -> None:
        """Nothing new is sent from now on."""
        assert self.peer is not None
        self.peer.send(Withdrawn(owner=WORKER))

    def offer(self, *jobs: Job) -> list[str]:
        """Begin jobs in the worker's name and send them to it."""
        self.until(lambda: self.peer is not None)
        self.send(*self.begin(*jobs))
        return [job.job_id for job in jobs]

    def begin(self, *jobs: Job) -> list[Job]:
        """What a watcher does, for these jobs only: they run in the worker's name, which does not know it yet."""
        self.store.insert([list(jobs)])
        return [self.begin_one(job) for job in jobs]

    def begin_one(self, job: Job) -> Job:
        """A stored job."""
        now = self.world.now()
        claim = lifecycle.claim(job, owner=WATCHER, now=now)
        enqueue = lifecycle.enqueue(claim.after(job), now=now)
        queued = enqueue.after(claim.after(job))
        begin = lifecycle.begin(queued, owner=WORKER, now=now, lease_s=self.settings.lease_s)
        assert self.store.apply([claim, enqueue, begin]) == [True] * 3
        return begin.after(queued)

    def send(self, *jobs: Job, is_again: bool = False) -> None:
        """What the queue does."""
        assert self.peer is not None
        units = SLOT_UNITS * len(jobs)
        self.sent += units
        self.peer.send(Leased(jobs=msgspec.Raw(msgspec.msgpack.encode(jobs)), units=units, is_again=is_again))

    def run(self, task: str, payload: bytes = b"null", **fields: object) -> Job:
        """One job of the task, until its attempt has ended."""
        (job_id,) = self.offer(a_job(task=task, payload=payload, **fields))
        self.until(lambda: self.job(job_id).attempt > 0 and self.job(job_id).status is not Status.RUNNING)
        return self.job(job_id)

    def until(self, holds: Callable[[], object], within_s: float = LIMIT_S) -> None:
        """Turn after turn."""

        def turned() -> object:
            self.turn()
            return holds()

        wait_for(turned, within_s=within_s)

    def job(self, job_id: str) -> Job:
        job = self.store.find([job_id])[0]
        assert job is not None
        return job

    def execution(self, job: Job) -> Execution:
        return self.store.executions(job.job_id)[-1]

    def acked(self) -> list[str]:
        return [lease[0] for message in self.heard if isinstance(message, Ack) for lease in message.leases]

    def released(self) -> list[str]:
        return [lease[0] for message in self.heard if isinstance(message, Release) for lease in message.leases]

    def room(self) -> int:
        """The free slots by what the worker said last."""
        said = [message for message in self.heard if isinstance(message, Want | Ack)]
        last = [message for message in said if isinstance(message, Want) or message.short_limit][-1]
        return max(0, last.limit - self.sent) // SLOT_UNITS

    def pids(self) -> list[int]:
        return [slot.handle.pid for slot in self.worker._executors.slots]

    def log_text(self) -> str:
        return self.log_path.read_text()

    def close(self) -> None:
        """Drain at once and let go of everything."""
        for slot in self.worker._executors.slots:
            slot.handle.kill()
        self.worker.drain()
        self.until(lambda: self.worker.drained)
        self.worker.close()
        self.template.end()
        self.hub.close()
        self.queue_hub.close()


def cancel(shop: Shop, job_id: str) -> None:
    """What a scheduler does, without its hint."""
    assert shop.store.apply([lifecycle.cancel(shop.job(job_id), now=shop.world.now())]) == [True]
