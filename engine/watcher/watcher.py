"""Claims due jobs and pushes them to the queue; recovers the jobs of dead owners.

    wake · next due time · poll                       Room           Pushed
           └──▶ claim_due (as many as there is room) ◀──── queue ────▶ the claimed jobs are in the queue
                     └── Push + Reserve ──────────────────▶

A claim makes jobs `queued` in the store before they are pushed. Until the queue has replied `Pushed`, the watcher keeps the
tickets: it pushes them again to a new queue, and returns them to the store if no queue appears for long. If the watcher dies
first, its death is the proof with which another watcher recovers them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.job import PRIORITIES, Ticket
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.store.hand_back import hand_back
from jobyard.engine.store.port import Feed, Served, Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.watcher.expiry import Expiry
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.wire.hub import Envelope, Network, Peer
from jobyard.engine.wire.messages import (
    Closed,
    Json,
    Message,
    OwnersDied,
    Ping,
    Push,
    Pushed,
    Ready,
    Refused,
    Reserve,
    Room,
    Wake,
)
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.world import World

BATCH = 500
NO_ROOM = [0 for _ in PRIORITIES]
RECONNECT_S = 0.1
HAND_BACK_AFTER_S = 3.0
DUE_SLACK_S = 0.0005
DUE_SPREAD_S = 0.002
EXPIRY_SLACK_S = 0.05


class Watcher:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, recovery: Recovery,
        retention: Retention, host_lease: HostLease, served: Callable[[], Served], queue_names: Callable[[], list[str]],
        feed: Feed | None = None,
    ) -> None:  # fmt: skip
        """`queue_names`: for `QueueConnector`. `served`: what this host can run now. `feed`: reports other hosts' accepted jobs."""
        self._owner = owner
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._connector = QueueConnector(network=network, names=queue_names)
        self._recovery = recovery
        self._retention = retention
        self._expiry = Expiry(world=world, store=store, log=log)
        self._host_lease = host_lease
        self._served = served
        self._feed = feed
        if feed is not None:
            network.watch(feed.fd)
        self._queue: Peer | None = None
        self._room = NO_ROOM
        self._unpushed: list[Ticket] = []
        self._unreachable_since: float | None = None
        self._poll_at = world.monotonic()
        self._look_now = True
        self._is_more_due = True
        self._store_fault: str | None = None
        self._draining = False
        self._started = world.monotonic()
        self._counts = dict.fromkeys(("jobs_claimed", "jobs_queued", "claim_conflicts", "polls"), 0)
        self._last_claim_time: datetime | None = None
        self._last_queued_time: datetime | None = None

    @property
    def drained(self) -> bool:
        """Whether every claim is in the queue or back in the store."""
        return self._draining and not self._unpushed

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle messages, keep the queue connected, poll, claim and push; returns the time until something is due."""
        for envelope in inbox:
            self._read(envelope)
        self._reach_queue()
        try:
            self._host_lease.renew()
            self._poll()
            self._claim()
            sleep_s = self._sleep_s()
        except StoreUnavailable as fault:
            return self._wait_for_store(fault)
        if self._store_fault is not None:
            self._log.info("database_reachable")
        self._store_fault = None
        return sleep_s

    def drain(self) -> None:
        """Claim nothing more; claimed jobs go to the queue or back to the store."""
        self._draining = True

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    def _read(self, envelope: Envelope) -> None:
        match envelope.message:
            case Room(granted=granted):
                self._room = granted
                self._look_now = self._look_now or self._is_more_due
            case Pushed():
                self._counts["jobs_queued"] += len(self._unpushed)
                self._last_queued_time = self._world.now()
                self._unpushed = []
            case Wake():
                self._look_now = True
            case Ready() if self._feed is not None:
                self._feed.clear()
                self._look_now = True
            case OwnersDied():
                self._recovery.somebody_died()
                self._poll_at = self._world.monotonic()
            case Closed() if envelope.peer is self._queue:
                self._queue = None
            case Ping() if envelope.peer is not None:
                envelope.peer.send(self._health())

    # ---- the queue

    def _reach_queue(self) -> None:
        if self._queue is not None:
            return
        self._room = NO_ROOM
        self._queue = self._connector.connect()
        if self._queue is None:
            self._unreachable_since = self._unreachable_since or self._world.monotonic()
            self._hand_back()
            return
        self._unreachable_since = None
        if self._unpushed:
            self._queue.send(Push(tickets=self._unpushed))
        self._reserve()

    def _reserve(self) -> None:
        if self._queue is not None and not self._draining:
            self._queue.send(Reserve(wanted=[BATCH for _ in PRIORITIES]))

    def _hand_back(self) -> None:
        """After too long without a queue, the claimed jobs become pending again, so that a host with a queue can claim them."""
        assert self._unreachable_since is not None
        waited_s = self._world.monotonic() - self._unreachable_since
        if not self._unpushed or (waited_s < HAND_BACK_AFTER_S and not self._draining):
            return
        try:
            jobs = hand_back(self._store, self._unpushed, now=self._world.now(), max_lost=self._settings.max_lost)
        except StoreUnavailable:
            return
        self._log.warning("claims_handed_back", jobs=jobs, reason="no queue")
        self._unpushed = []

    # ---- the store

    def _poll(self) -> None:
        """The fallback that finds everything that a lost wake-up, a death or another host may have left."""
        if self._draining or self._world.monotonic() < self._poll_at:
            return
        self._poll_at = self._world.monotonic() + self._settings.poll_s + self._world.jitter(self._settings.poll_s / 4)
        self._counts["polls"] += 1
        self._recovery.recover()
        self._retention.purge()
        self._expiry.cancel_expired()
        if (expires_in_s := self._expiry.wait_s()) is not None:
            self._poll_at = min(self._poll_at, self._world.monotonic() + expires_in_s + self._world.jitter(EXPIRY_SLACK_S))
        self._look_now = True

    def _claim(self) -> None:
        if self._draining or self._unpushed or self._queue is None or not self._look_now or not any(self._room):
            return
        if self._host_lease.is_lost:
            return
        claimed = self._store.claim_due(owner=self._owner, now=self._world.now(), limits=self._room, served=self._served())
        self._look_now = False
        self._is_more_due = _is_any_used_up(self._room, claimed.tickets)
        self._counts["claim_conflicts"] += claimed.conflicts
        if not claimed.tickets:
            return
        self._counts["jobs_claimed"] += len(claimed.tickets)
        self._last_claim_time = self._world.now()
        if self._log.is_debug:
            for ticket in claimed.tickets:
                self._log.debug("job_claimed", job_id=ticket.job_id, epoch=ticket.epoch)
        self._unpushed = claimed.tickets
        self._room = NO_ROOM
        self._queue.send(Push(tickets=claimed.tickets))
        self._reserve()

    def _sleep_s(self) -> float:
        if self._draining or self._queue is None:
            return RECONNECT_S
        now_s = self._world.monotonic()
        until_poll_s = max(0.0, min(self._poll_at, self._host_lease.next_at()) - now_s)
        if self._unpushed or not any(self._room):
            return until_poll_s  # Pushed or Room wakes this watcher
        next_due = self._store.next_due(limits=self._room, served=self._served())
        if next_due is None:
            return until_poll_s
        until_due_s = (next_due - self._world.now()).total_seconds() + DUE_SLACK_S
        if until_due_s > 0:
            until_due_s += self._world.jitter(DUE_SPREAD_S)  # otherwise all watchers would wake at once, and one suffices
        self._look_now = until_due_s <= until_poll_s
        return max(0.0, min(until_poll_s, until_due_s))

    def _wait_for_store(self, fault: StoreUnavailable) -> float:
        if self._store_fault is None:
            self._log.error("database_unreachable", reason=fault.message)
        self._store_fault = fault.message
        self._look_now = True
        self._poll_at = self._world.monotonic()
        return 0.5 + self._world.jitter(0.5)

    # ---- requests

    def _health(self) -> Message:
        if self._queue is None:
            return Refused(code="unavailable", message=f"{self._connector.name} does not answer", retry_after_s=1)
        if self._store_fault is not None:
            return Refused(code="database_unavailable", message=self._store_fault, retry_after_s=1)
        return Json(body=msgspec.json.encode({"status": "healthy"}))

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        return ComponentCounters(
            started_at=self._started, in_passing=("polls",),
            stats={
                "watcher_id": parse_owner(self._owner).process, **self._counts,
                "last_claim_time": rfc3339(self._last_claim_time), "last_queued_time": rfc3339(self._last_queued_time),
            },
            counts={"stale_writes": self._recovery.stale_writes, "recovered": self._recovery.jobs_recovered},
            attempts=self._recovery.attempts_lost,
        )  # fmt: skip


def _is_any_used_up(room: list[int], tickets: list[Ticket]) -> bool:
    """Whether the claim used up the room of some priority, so that more of it may be due; jobs due later cause a wake-up."""
    taken = Counter(ticket.priority for ticket in tickets)
    return any(count >= room[priority] for priority, count in taken.items())
