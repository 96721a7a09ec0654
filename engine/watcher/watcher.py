"""Claims due jobs for the workers that have room for them; recovers the jobs of dead owners.

    wake · next due time · poll              Room                        confirmed with the next Room
           └──▶ claim_due (places at workers) ◀──── queue ────▶ worker     ▲
                     └── Push: the jobs, begun at their workers ───────────┘

A claim is one commit in which a job is claimed and begins at a worker that has a free place (`places`); a job that no worker has
room for waits in the store, in order. If the watcher dies before its push has arrived, the worker returns the job (see
`worker.arrivals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters, all_attempts
from jobyard.engine.store.port import Feed, Served, Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.watcher.deliveries import Deliveries
from jobyard.engine.watcher.expiry import Expiry
from jobyard.engine.watcher.fires import Fires
from jobyard.engine.watcher.lease_keeper import LeaseKeeper
from jobyard.engine.watcher.limit_upkeep import LimitUpkeep
from jobyard.engine.watcher.places import Places
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.resolution import Resolution
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.wire.cancel_hints import tell_cancelled
from jobyard.engine.wire.hub import Envelope, Network, Peer
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.lease_messages import LeasesGranted
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Closed, OwnersDied, Ping, Ready, Refused, Wake
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.wire.queue_messages import Reserve, Room, Undelivered, Withdrawn
from jobyard.engine.world import World

RECONNECT_S = 0.1
DUE_SLACK_S = 0.0005
DUE_SPREAD_S = 0.002
EXPIRY_SLACK_S = 0.05
SKIPPED_S = 0.1
"""How soon due jobs that cannot begin now, although there is room, are tried again."""


class Watcher:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, recovery: Recovery,
        retention: Retention, host_lease: HostLease, served: Callable[[], Served], queue_names: Callable[[], list[str]],
        feed: Feed | None = None, fires: Fires | None = None, limits: LimitUpkeep | None = None,
    ) -> None:  # fmt: skip
        """`queue_names`: for `QueueConnector`. `served`: what this host can run now. `feed`: reports other hosts' accepted jobs.

        `fires`: makes the jobs of schedules; None: nobody does.
        """
        self._network = network
        self._limits = limits or LimitUpkeep(world=world, store=store, log=log)
        self._owner, self._settings, self._world, self._store, self._log = owner, settings, world, store, log
        self._connector = QueueConnector(network=network, names=queue_names)
        self._recovery = recovery
        self._retention = retention
        self._expiry = Expiry(world=world, store=store, log=log)
        self._lease_keeper = LeaseKeeper(settings=settings, world=world, store=store, log=log)
        self._resolution = Resolution(world=world, store=store, log=log, looks_over=settings.mongo_uri is not None)
        self._host_lease = host_lease
        self._served = served
        self._feed = feed
        self._fires = fires
        if feed is not None:
            network.watch(feed.fd)
        self._queue: Peer | None = None
        self._returned = 0
        """How often all places were returned on this connection."""
        last_chance = max(1, settings.max_lost - 1)
        self._places = Places(last_chance=last_chance, runs_lost_job=lambda worker, n: store.runs_lost_job(worker, at_least=n))
        self._deliveries = Deliveries(self._places.use)
        self._poll_at = world.monotonic()
        self._look_now = True
        self._is_more_due = False
        self._in_vain_at: datetime | None = None
        """When a claim left due jobs although there is room: they may begin nowhere now, or have expired."""
        self._store_fault: str | None = None
        self._draining = False
        self._started = world.monotonic()
        self._counts = dict.fromkeys(("jobs_claimed", "jobs_queued", "claim_conflicts", "polls"), 0)
        self._last_claim_time: datetime | None = None

    @property
    def drained(self) -> bool:
        """Whether every claimed job has been passed on, or is back in the store."""
        return self._draining and self._deliveries.is_clear

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle messages, keep the queue connected, poll, claim and push; returns the time until something is due."""
        for envelope in inbox:
            self._read(envelope)
        self._reach_queue()
        try:
            self._host_lease.renew()
            self._poll()
            self._keep_leases()
            self._give_back()
            self._fire()
            self._resolve()
            is_more_to_keep_up = not self._draining and self._limits.keep_up()
            self._claim()
            until_s = min(self._sleep_s(), self._until_fire_s(), self._until_lease_ends_s())
            sleep_s = 0.0 if is_more_to_keep_up else until_s
        except StoreUnavailable as fault:
            return self._wait_for_store(fault)
        if self._store_fault is not None:
            self._log.info("database_reachable")
        self._store_fault = None
        return sleep_s

    def drain(self) -> None:
        """Claim nothing more; the places go back to the queue, whose reply confirms what is on its way."""
        self._draining = True
        self._places.clear()
        if self._queue is not None:
            self._queue.send(Reserve(owner=self._owner, is_last=True))

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    def _read(self, envelope: Envelope) -> None:
        match envelope.message:
            case Room(granted=granted, pushes=pushes, returned=returned, costs=costs):
                self._deliveries.confirm(pushes)
                if not self._draining:
                    self._places.grant(granted if returned == self._returned else [], costs)
                self._look_now = self._look_now or self._is_more_due
            case Withdrawn(owner=worker):
                self._places.withdraw(worker)
            case Undelivered(leases=leases):
                self._deliveries.note_undelivered(leases)
            case Wake(resolves=resolves):
                self._look_now = True
                self._resolution.is_due = self._resolution.is_due or resolves
                self._forget_fires()
                self._limits.look()
            case Ready() if self._feed is not None:
                self._feed.clear()
                self._look_now = True
            case LeasesGranted():
                self._lease_keeper.wake()
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
        self._places.clear()
        self._returned = 0
        self._queue = self._connector.connect()
        if self._queue is not None:
            self._reserve()
            self._deliveries.push_again(self._queue)
            if self._draining:
                self._reserve()  # the reply confirms what was pushed again

    def _reserve(self, least: int = 0) -> None:
        """Have places at hand; or, if a job is due that takes `least` units and has no room here, get everything that is free.

        Parts of slots that remain here then go back, so that the queue can join them.
        """
        if self._queue is None:
            return
        is_return = least > 0 and not self._places.is_empty
        if is_return:
            self._places.clear()
            self._returned += 1
        self._queue.send(Reserve(owner=self._owner, least=least, is_return=is_return, is_last=self._draining))

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
        self._lease_keeper.wake()
        self._resolution.ask()
        self._resolution.look_over()
        self._forget_fires()
        self._limits.tidy()

    def _keep_leases(self) -> None:
        ended = self._lease_keeper.leases_ended
        if not self._draining and self._lease_keeper.look():
            self._look_now = True
        self._resolution.is_due = self._resolution.is_due or self._lease_keeper.leases_ended > ended

    def _forget_fires(self) -> None:
        if self._fires is not None:
            self._fires.forget()
            self._fires.declare()

    def _fire(self) -> None:
        if self._fires is not None and self._may_fire() and self._fires.fire():
            self._look_now = True
            self._resolution.ask()

    def _resolve(self) -> None:
        if not self._draining and not self._host_lease.is_lost and self._resolution.advance():
            self._look_now = True

    def _until_fire_s(self) -> float:
        until_s = self._fires.next_s() if self._fires is not None and self._may_fire() else None
        return math.inf if until_s is None else until_s

    def _until_lease_ends_s(self) -> float:
        return math.inf if self._draining else self._lease_keeper.next_s()

    def _may_fire(self) -> bool:
        return not self._draining and not self._host_lease.is_lost

    def _give_back(self) -> None:
        returned = self._deliveries.give_back(self._store, self._world.now())
        if returned:
            self._log.warning("claims_returned", jobs=returned, reason="their worker is gone or takes nothing more")
            self._look_now = True

    def _claim(self) -> None:
        """Begin what is due at the workers that have room, in one commit; ask for more room if more may be due."""
        if self._draining or self._queue is None or not self._look_now or self._host_lease.is_lost:
            return
        self._look_now, self._in_vain_at = False, None
        allocation = self._places.allocation()
        least = allocation.smallest
        if not allocation.most:
            self._is_more_due = self._is_anything_due()
        else:
            now = self._world.now()
            claimed = self._store.claim_due(
                owner=self._owner, now=now, lease_s=self._settings.lease_s, allocation=allocation, served=self._served()
            )  # fmt: skip
            self._counts["claim_conflicts"] += claimed.conflicts
            self._look_now = allocation.is_batch_full
            self._in_vain_at = now if allocation.has_skipped or not claimed.jobs else None
            self._is_more_due = not self._look_now and not allocation.most
            least = allocation.lacking or least
            self._push(claimed.jobs, self._queue)
            tell_cancelled(self._network, claimed.asked)
        if self._is_more_due:  # each time: watchers that hold places are woken for it, once for each such message
            self._reserve(least)
        elif self._places.is_low:
            self._reserve()

    def _push(self, jobs: list[Job], queue: Peer) -> None:
        if not jobs:
            return
        self._counts["jobs_claimed"] += len(jobs)
        self._counts["jobs_queued"] += len(jobs)
        self._last_claim_time = self._world.now()
        if self._log.is_debug:
            for job in jobs:
                self._log.debug("job_claimed", job_id=job.job_id, epoch=job.epoch, worker=job.locked_by)
        self._deliveries.push(jobs, queue)

    def _is_anything_due(self) -> bool:
        next_due = self._store.next_due(served=self._served())
        return next_due is not None and next_due <= self._world.now()

    def _sleep_s(self) -> float:
        if self._draining or self._queue is None:
            return RECONNECT_S
        now_s = self._world.monotonic()
        until_poll_s = max(0.0, min(self._poll_at, self._host_lease.next_at()) - now_s)
        if self._host_lease.is_lost:
            return until_poll_s
        if self._look_now or self._resolution.is_due:
            return 0.0
        if self._is_more_due:
            return until_poll_s  # Room wakes this watcher
        next_due = self._store.next_due(served=self._served())
        if next_due is None:
            return until_poll_s
        until_due_s = (next_due - self._world.now()).total_seconds() + DUE_SLACK_S
        if self._in_vain_at is not None and next_due <= self._in_vain_at:
            until_due_s = max(until_due_s, SKIPPED_S)
        elif until_due_s > 0:
            until_due_s += self._world.jitter(DUE_SPREAD_S)  # otherwise all watchers would wake at once, and one suffices
        self._look_now = until_due_s <= until_poll_s
        return max(0.0, min(until_poll_s, until_due_s))

    def _wait_for_store(self, fault: StoreUnavailable) -> float:
        if self._store_fault is None:
            self._log.error("database_unreachable", reason=fault.message)
        self._store_fault = fault.message
        self._lease_keeper.forget()
        self._look_now = True
        self._poll_at = self._world.monotonic()
        return 0.5 + self._world.jitter(0.5)

    # ---- requests

    def _health(self) -> Message:
        if self._queue is None:
            return Refused(code="unavailable", message=f"{self._connector.name} does not answer", retry_after_s=1)
        if self._store_fault is not None:
            return Refused(code="database_unavailable", message=self._store_fault, retry_after_s=1)
        return as_json({"status": "healthy"})

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        return ComponentCounters(
            started_at=self._started, in_passing=("polls",),
            stats={
                "watcher_id": parse_owner(self._owner).process, **self._counts,
                "last_claim_time": rfc3339(self._last_claim_time), "last_queued_time": rfc3339(self._last_claim_time),
            },
            counts={
                "stale_writes": self._recovery.stale_writes, "recovered": self._recovery.jobs_recovered, **self._resolution.counts,
                "leases_ended": self._lease_keeper.leases_ended,
                **({} if self._fires is None else self._fires.counts()),
            },
            histograms={} if self._fires is None else {"fire_lag": self._fires.lag},
            attempts=all_attempts([self._recovery.attempts_lost, self._lease_keeper.attempts]),
        )  # fmt: skip
