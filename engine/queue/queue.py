"""Brings claimed jobs to workers: grants workers' free places to watchers, passes on what they claimed, and keeps the leases.

    worker ── Want ──▶        ── Room ──▶ watcher        places, granted to one watcher at a time (`grants`)
    watcher ── Push ──▶       ── Leased ──▶ worker       jobs that have begun at that worker, by priority, then age
    worker ── Extend, Ack ──▶                            leases (`leases`)

All in memory, and nothing of it is needed to keep a job: when the queue dies, watchers push again what it has not confirmed, and
workers return to the store what is begun in their names and did not arrive. Jobs that wait for a place wait in the store; the queue
lists and counts them there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Ticket, ticket_for
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.queue.grants import Grants, WatcherRoom
from jobyard.engine.queue.leases import Lease, Leases
from jobyard.engine.store.port import Due, Served, Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.hub import Envelope, Network, Peer
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.messages import Closed, GetItems, Ping, Refused, Wake
from jobyard.engine.wire.queue_messages import (
    Ack,
    Delivery,
    Extend,
    Leased,
    Push,
    Release,
    Reserve,
    Room,
    Undelivered,
    Want,
    WatcherGone,
    Withdrawn,
)
from jobyard.engine.world import World

LOOK_S = 1.0
UNCONFIRMED_BYTES = 256 << 10
"""A watcher keeps what was not confirmed, so after this much a confirmation is worth a message of its own."""
NOTHING_DUE = Due(counts=[0] * 10)


class Queue:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log,
        served: Callable[[], Served],
    ) -> None:  # fmt: skip
        """`served`: what this host can run, whose due jobs are listed and counted."""
        self._owner = parse_owner(owner)
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._served = served
        self._grants = Grants()
        self._leases = Leases()
        self._due = NOTHING_DUE
        self._is_active = False
        self._looked_at = world.monotonic()
        self._started = world.monotonic()
        self._counts = dict.fromkeys(("jobs_pushed", "jobs_popped", "jobs_acked", "jobs_released", "jobs_recovered"), 0)
        self._last_push_time: datetime | None = None
        self._last_pop_time: datetime | None = None
        self.drained = False
        self._steps: dict[type, Callable[..., None]] = {
            Want: self._want, Reserve: self._reserve, Push: self._push, Extend: self._extend, Ack: self._ack,
            Release: self._release, Closed: self._forget, GetItems: self._items, Ping: self._ping,
        }  # fmt: skip

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle the messages, grant what is free, expire leases."""
        for envelope in inbox:
            step = self._steps.get(type(envelope.message))
            if step is not None and envelope.peer is not None:
                step(envelope.peer, envelope.message)
        self._grant()
        self._look()
        return LOOK_S if self._is_active else self._settings.lease_s

    def drain(self) -> None:
        """Nothing is kept here that would be lost."""
        self.drained = True

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- workers

    def _want(self, peer: Peer, message: Want) -> None:
        if message.is_closed:
            self._withdraw(message.owner, [*self._grants.close(peer), peer])
        else:
            self._grants.offer(
                peer, owner=message.owner, limit=message.limit, short_limit=message.short_limit, costs=message.costs
            )  # fmt: skip

    def _extend(self, peer: Peer, message: Extend) -> None:
        self._leases.extend(message.leases, holder=peer, expires_at=self._lease_end())

    def _ack(self, peer: Peer, message: Ack) -> None:
        self._counts["jobs_acked"] += self._leases.end(message.leases, holder=peer)
        if message.short_limit:
            self._grants.limit(peer, message.limit, message.short_limit)

    def _release(self, peer: Peer, message: Release) -> None:
        self._counts["jobs_released"] += self._leases.end(message.leases, holder=peer)

    # ---- watchers

    def _reserve(self, peer: Peer, message: Reserve) -> None:
        if message.is_last:
            self._confirm(peer, self._grants.leave(peer, owner=message.owner))
            return
        if message.is_return:
            self._grants.give_back(peer)
        self._grants.reserve(peer, owner=message.owner, least=message.least)
        self._is_active = self._is_active or message.least > 0

    def _push(self, peer: Peer, message: Push) -> None:
        missing = [delivery for delivery in message.deliveries if not self._pass_on(peer, delivery, message.is_again)]
        if missing and not message.is_again:  # else the worker may have received them before; it finds them when it connects
            leases = [(ticket.job_id, ticket.epoch) for delivery in missing for ticket in delivery.tickets]
            peer.send(Undelivered(leases=leases))
        watcher = self._grants.watchers.get(peer)
        if watcher is None:
            return
        watcher.pushes += 1
        watcher.unconfirmed_bytes += sum(len(memoryview(delivery.jobs)) for delivery in message.deliveries)
        if watcher.unconfirmed_bytes > UNCONFIRMED_BYTES:
            self._confirm(peer, watcher)

    def _pass_on(self, watcher: Peer, delivery: Delivery, is_again: bool) -> bool:
        """Lease the jobs to their worker; False if it is gone, or takes nothing more and cannot have received them before."""
        found = self._grants.worker(delivery.owner)
        self._counts["jobs_pushed"] += len(delivery.tickets)
        self._last_push_time = self._world.now()
        if found is None or (found[1].is_closed and not is_again):
            return False
        worker, room = found
        self._grants.use(watcher, room, delivery.units)
        if not worker.send(Leased(jobs=delivery.jobs, units=delivery.units, is_again=is_again)):
            return False
        name, until = parse_owner(room.owner).process, self._lease_end()
        for ticket in delivery.tickets:
            self._leases.add(ticket, holder=worker, worker=name, expires_at=until)
        self._counts["jobs_popped"] += len(delivery.tickets)
        self._last_pop_time = self._last_push_time
        self._is_active = True
        return True

    def _confirm(self, peer: Peer, watcher: WatcherRoom) -> None:
        """Without a grant; otherwise the next one confirms the pushes before it."""
        peer.send(Room(granted=[], pushes=watcher.pushes))
        watcher.unconfirmed_bytes = 0

    def _grant(self) -> None:
        for peer, watcher, offers in self._grants.match():
            costs, watcher.costs, watcher.unconfirmed_bytes = watcher.costs, {}, 0
            peer.send(Room(granted=offers, pushes=watcher.pushes, returned=watcher.returned, costs=costs))
        for peer in self._grants.holders_to_wake():
            peer.send(Wake(due_at=self._world.now()))

    def _withdraw(self, worker: str, peers: list[Peer]) -> None:
        for peer in peers:
            peer.send(Withdrawn(owner=worker))

    def _forget(self, peer: Peer, message: Closed) -> None:
        """A connection has ended: what a worker held is recovered from the store; a watcher's places are free again."""
        if peer in self._grants.workers:
            owner = self._grants.workers[peer].owner
            self._withdraw(owner, self._grants.remove_worker(peer))
            self._counts["jobs_recovered"] += self._leases.end_all(peer)
        watcher = self._grants.remove_watcher(peer)
        if watcher is not None:
            for worker in self._grants.workers:
                worker.send(WatcherGone(owner=watcher))

    def _lease_end(self) -> float:
        return self._world.monotonic() + self._settings.lease_s

    # ---- once a second, while anything happens

    def _look(self) -> None:
        now = self._world.monotonic()
        if not self._is_active or now < self._looked_at + LOOK_S:
            return
        self._looked_at = now
        self._counts["jobs_recovered"] += self._leases.expire(now)
        try:
            self._due = self._store.count_due(now=self._world.now(), served=self._served())
        except StoreUnavailable:
            return  # the last count stands; those who need the database say what is wrong with it
        self._is_active = bool(self._leases) or any(self._due.counts)

    # ---- requests

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        ready, leased = sum(self._due.counts), len(self._leases)
        return ComponentCounters(
            started_at=self._started, depth=self._due.counts,
            stats={
                "queue_id": self._owner.process, "size": ready + leased, "ready": ready, "leased": leased, **self._counts,
                "last_push_time": rfc3339(self._last_push_time), "last_pop_time": rfc3339(self._last_pop_time),
            },
        )  # fmt: skip

    def _items(self, peer: Peer, message: GetItems) -> None:
        now, served = self._world.now(), self._served()
        try:
            due = self._store.due(now=now, limit=message.limit, served=served)
            self._due = self._store.count_due(now=now, served=served)
            self._is_active = self._is_active or any(self._due.counts)
        except StoreUnavailable as fault:
            peer.send(Refused(code="database_unavailable", message=fault.message, retry_after_s=1))
            return
        ready, leased = sum(self._due.counts), len(self._leases)
        items = [self._leased_item(lease) for lease in self._leases][: message.limit]
        items += [_item(ticket_for(job)) for job in due[: message.limit - len(items)]]
        peer.send(as_json({"size": ready + leased, "ready": ready, "leased": leased, "items": items}))

    def _leased_item(self, lease: Lease) -> dict[str, object]:
        ends_at = self._world.now() + timedelta(seconds=lease.expires_at - self._world.monotonic())
        return _item(lease.ticket) | {"state": "leased", "leased_by": lease.worker, "lease_expires_at": rfc3339(ends_at)}

    def _ping(self, peer: Peer, message: Ping) -> None:
        peer.send(as_json({"status": "healthy"}))


def _item(ticket: Ticket) -> dict[str, object]:
    return {
        "job_id": ticket.job_id, "task": ticket.task, "queue": ticket.queue, "priority": ticket.priority, "state": "ready",
        "leased_by": None, "lease_expires_at": None, "attempt": ticket.attempt,
    }  # fmt: skip
