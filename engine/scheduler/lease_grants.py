"""Leases due jobs to HTTP workers: a scheduler claims for the requests that wait, those for the same tasks in one commit.

    front ─ LeaseJobs AwaitLeases ─▶ waiting ── claim_due ──▶ JobsLeased Granted ─▶ front ─▶ client
                                        ▲ our own commit · version · next due time      └ gone ─▶ ReturnLeases

The claim is the watchers' own (`Store.claim_due`), with requests in the place of workers that have room; so order, limits and
unique keys hold without a word about them here. Requests are served in the order in which they came. A request that waits costs
nothing: the store is asked a few times a second whether anything was committed, once for all of them, and looked into only then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import Conflict, InvalidRequest, JobyardError, StoreBroken, StoreUnavailable, Unavailable
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.owners import http_owner
from jobyard.engine.leases.allocation import LeaseAllocation
from jobyard.engine.leases.leased_job import to_json
from jobyard.engine.leases.requests import LeaseRequest, read_lease
from jobyard.engine.leases.rules import give_back, is_held
from jobyard.engine.scheduler.declared_tasks import DeclaredTasks
from jobyard.engine.scheduler.group_commit import refused
from jobyard.engine.scheduler.http_workers import HttpWorkers
from jobyard.engine.store.port import Served, Store
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.lease_messages import AwaitLeases, Granted, JobsLeased, LeaseJobs
from jobyard.engine.world import World

LOOK_S, QUIET_LOOK_S = 0.05, 0.25
"""How often the store is asked whether anything was committed: the first while it was, within the last `LIVELY_S`."""

LIVELY_S = 2.0
SLOW_LOOK_S = 0.2
"""How often a store is looked into that cannot tell."""

SKIPPED_S = 0.1
AWAY_S = 1.0
SHARE = 20
ANSWER_BYTES = 16 << 20
"""Where the store cannot tell the size of a payload before the claim, what is past this many bytes is returned."""

RESULT_BYTES = 4 << 20
NOTHING = object()
EMPTY = JobsLeased(body=b"[]")


@dataclass(eq=False, slots=True)
class Asking:
    """A request that waits. `number`: None if it wants its answer at once, whatever it is."""

    peer: Peer
    number: int | None
    wanted: LeaseRequest
    jobs: list[Job] = field(default_factory=list)

    @property
    def served(self) -> Served:
        """What it takes."""
        return Served(tasks=self.wanted.tasks, queues=self.wanted.queues)


class LeaseGrants:
    """Those of one scheduler."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, workers: HttpWorkers,
        declared: DeclaredTasks, tell_keeper: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`tell_keeper`: there are leases whose ends must be kept."""
        self._tell_keeper = tell_keeper
        self._owner = owner
        self._settings = settings
        self._world = world
        self._store = store
        self._workers = workers
        self._declared = declared
        self._waiting: dict[tuple[Served, float], deque[Asking]] = {}
        self._seen: object = NOTHING
        self._look_at = 0.0
        self._lively_until = 0.0
        self._due_at: datetime | None = None
        self._is_look_due = False
        self.granted = 0

    # ---- requests

    def take(self, peer: Peer, message: LeaseJobs) -> None:
        """Lease what there is in this tick."""
        try:
            self._add(Asking(peer, None, self._checked(message.body)))
        except StoreBroken:
            raise
        except JobyardError as wrong:
            peer.send(refused(wrong))

    def wait(self, peer: Peer, message: AwaitLeases) -> None:
        """Lease to these as soon as there is something, and no longer to others."""
        gone = set(message.no_longer)
        if gone:
            self._keep(lambda asking: asking.peer is not peer or asking.number not in gone)
        for number, body in message.bodies:
            self._add(Asking(peer, number, read_lease(body, lease_s=self._settings.lease_s)))

    def drop(self, peer: Peer) -> None:
        """Forget a front that is gone."""
        self._keep(lambda asking: asking.peer is not peer)

    def wake(self) -> None:
        """Something may be due now that was not before."""
        self._is_look_due = bool(self._waiting)

    def give_back(self, tokens: Sequence[tuple[str, int]]) -> None:
        """No client received these; they are due again at once."""
        epochs = dict(tokens)
        jobs = [job for job in self._store.find([*epochs], whole=False) if job is not None and is_held(job, epochs[job.job_id])]
        self._store.apply([give_back(job, now=self._world.now()) for job in jobs])
        self.wake()

    def _checked(self, body: bytes) -> LeaseRequest:
        wanted = read_lease(body, lease_s=self._settings.lease_s)
        self._declared.learn()
        for task in wanted.tasks:
            if self._declared.is_python(task):
                raise Conflict("conflict", f"{task} is a task of a task module, which Jobyard's own workers run", "tasks")
            if not self._declared.is_declared(task):
                words = f"the task {task!r} is not declared; PUT /api/tasks/{task} declares it"
                raise InvalidRequest("unknown_task", words, "tasks")
        return wanted

    def _add(self, asking: Asking) -> None:
        wanted = asking.wanted
        self._workers.note(wanted)
        self._waiting.setdefault((asking.served, wanted.lease_s), deque()).append(asking)
        self._is_look_due = True

    def _keep(self, wanted: Callable[[Asking], bool]) -> None:
        for key, askings in list(self._waiting.items()):
            kept = deque(asking for asking in askings if wanted(asking))
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]

    # ---- looking

    def next_look_s(self) -> float:
        """The time until the next look."""
        if not self._waiting:
            return float("inf")
        if self._is_look_due:
            return 0.0
        return max(0.0, min(self._look_at - self._world.monotonic(), self._until_due_s()))

    def _until_due_s(self) -> float:
        return float("inf") if self._due_at is None else (self._due_at - self._world.now()).total_seconds()

    def look(self) -> None:
        """If something may be due, claim it for those that wait; then answer those that do not wait."""
        if not self._waiting:
            return
        try:
            if self._is_time():
                self._is_look_due, self._due_at = False, None
                for key in list(self._waiting):
                    self._serve(key)
        except StoreUnavailable as fault:
            self._seen, self._look_at, self._is_look_due = NOTHING, self._world.monotonic() + AWAY_S, False
            self._refuse_at_once(fault)
        self._answer_at_once()

    def _is_time(self) -> bool:
        now = self._world.monotonic()
        must_look = self._is_look_due or self._until_due_s() <= 0
        if not must_look and now < self._look_at:
            return False
        version = self._store.version()
        is_new = version is None or version != self._seen
        if version is not None and is_new:
            self._lively_until = now + LIVELY_S
        self._seen = version
        self._look_at = now + (SLOW_LOOK_S if version is None else LOOK_S if now < self._lively_until else QUIET_LOOK_S)
        return is_new or must_look

    def _serve(self, key: tuple[Served, float]) -> None:
        """Claim for the requests of one kind, in one commit."""
        served, lease_s = key
        askings = self._waiting[key]
        began_at, now = self._world.monotonic(), self._world.now()
        allocation = LeaseAllocation(
            [(asking, http_owner(asking.wanted.worker), asking.wanted.count) for asking in askings],
            last_chance=max(1, self._settings.max_lost - 1),
            runs_lost_job=lambda owner, least: self._store.runs_lost_job(owner, at_least=least),
        )  # fmt: skip
        claimed = self._store.claim_due(owner=self._owner, now=now, lease_s=lease_s, allocation=allocation, served=served)
        for job in claimed.jobs:
            allocation.asked_for(job.locked_by or "").jobs.append(job)
        self._grant(key)
        if key in self._waiting:
            self._is_look_due = self._is_look_due or allocation.is_batch_full
            self._note_next(served, now)
        took_s = self._world.monotonic() - began_at
        self._look_at = max(self._look_at, self._world.monotonic() + SHARE * took_s)

    def _grant(self, key: tuple[Served, float]) -> None:
        served = [asking for asking in self._waiting[key] if asking.jobs]
        if not served:
            return
        self._keep(lambda asking: not asking.jobs)
        self._tell_keeper()
        for asking in served:
            jobs, rest = _within(asking.jobs, ANSWER_BYTES)
            tokens = [(job.job_id, job.epoch) for job in jobs]
            texts = [to_json(job, lease_s=asking.wanted.lease_s, results=self._results(job)) for job in jobs]
            leased = JobsLeased(body=b"[" + b",".join(texts) + b"]", tokens=tokens)
            answer = leased if asking.number is None else Granted(number=asking.number, leased=leased)
            is_sent = asking.peer.send(answer)
            self.granted += len(jobs) if is_sent else 0
            unsent = [*([] if is_sent else tokens), *((job.job_id, job.epoch) for job in rest)]
            if unsent:
                self.give_back(unsent)

    def _results(self, job: Job) -> Mapping[str, object] | None:
        """Those of the jobs that it waited for, as `current_job().results` has them; None if they are too large together."""
        names = {one.ref or one.job_id: one.job_id for one in job.after or () if one.job_id is not None}
        if not names:
            return {}
        found = self._store.workflows.results([*names.values()], max_bytes=RESULT_BYTES)
        if found is None:
            return None
        return {str(name): msgspec.Raw(found[job_id]) if job_id in found else None for name, job_id in names.items()}

    def _note_next(self, served: Served, now: datetime) -> None:
        """When the next job is due, unless the store is asked every time anyway."""
        if self._seen is None:
            return
        due_at = self._store.next_due(served=served)
        if due_at is not None:
            due_at = max(due_at, now + timedelta(seconds=SKIPPED_S)) if due_at <= now else due_at
            self._due_at = due_at if self._due_at is None else min(due_at, self._due_at)

    def _answer_at_once(self) -> None:
        for asking in self._at_once():
            asking.peer.send(msgspec.structs.replace(EMPTY, wait_s=asking.wanted.wait_s))
        self._keep(lambda asking: asking.number is not None)

    def _refuse_at_once(self, fault: Unavailable) -> None:
        for asking in self._at_once():
            asking.peer.send(refused(fault))
        self._keep(lambda asking: asking.number is not None)

    def _at_once(self) -> list[Asking]:
        return [asking for askings in self._waiting.values() for asking in askings if asking.number is None]


def _within(jobs: list[Job], most_bytes: int) -> tuple[list[Job], list[Job]]:
    """The first jobs whose payloads have no more bytes together, at least one, and the rest."""
    size = 0
    for number, job in enumerate(jobs):
        size += len(job.payload)
        if number and size > most_bytes:
            return jobs[:number], jobs[number:]
    return jobs, []
