"""Hands queued jobs to workers, by priority, then age. All in memory: every job it holds is `queued` in the store.

At startup the queue loads what its predecessor held; afterwards watchers push what they claimed, idempotently by (job, epoch). Once
per LEASE_S it checks whether the store has a queued job that it does not know, so a ticket that was lost on the way is found. A
worker says how many jobs it wants and receives them as soon as there are any; waiting workers share evenly. Watchers reserve room
before they claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import PRIORITIES, Ticket
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.queue.admission import Admission
from jobyard.engine.queue.backlog import CAPACITY, Backlog, Entry
from jobyard.engine.store.hand_back import hand_back
from jobyard.engine.store.port import Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.why.facts import Place
from jobyard.engine.wire.hub import Envelope, Network, Peer
from jobyard.engine.wire.messages import (
    Ack,
    CancelAsked,
    Closed,
    Extend,
    GetItems,
    GetPlace,
    Json,
    Leased,
    Ping,
    Push,
    Pushed,
    Refused,
    Release,
    Reserve,
    Room,
    Want,
)
from jobyard.engine.world import World

PAGE = 500
LOOK_S = 1.0
ON_ITS_WAY = timedelta(seconds=5)
LEAST_GRANT = 200
JOBS_A_SLOT = 3
PARTS = 8
MANY = 16
SILENCE_S = 0.1


class Queue:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log,
        is_ours: Callable[[str], bool],
    ) -> None:  # fmt: skip
        """`is_ours`: whether an owner belongs to this data folder; other hosts hand out what they hold themselves."""
        self._owner = parse_owner(owner)
        self._is_ours = is_ours
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._backlog = Backlog()
        self._admission = Admission(
            world, least=JOBS_A_SLOT * settings.workers * settings.concurrency, most=CAPACITY, shared=settings.mongo_uri is not None
        )
        self._rebuilt = self._reload_failed = False
        self._reload_at = world.monotonic()
        self._wants: dict[Peer, Want] = {}
        self._unheard: dict[Peer, float] = {}
        self._reserved: dict[Peer, list[int]] = {}
        self._wished: dict[Peer, list[int]] = {}
        self._expired_at = world.monotonic()
        self._started = world.monotonic()
        self._counts = dict.fromkeys(("jobs_pushed", "jobs_popped", "jobs_acked", "jobs_released", "jobs_recovered"), 0)
        self._last_push_time: datetime | None = None
        self._last_pop_time: datetime | None = None
        self._draining = False
        self.drained = False
        self._steps: dict[type, Callable[..., None]] = {
            Push: self._push, Reserve: self._reserve, Want: self._want, Extend: self._extend, Ack: self._ack,
            Release: self._release, Closed: self._forget, GetItems: self._items, GetPlace: self._place,
            Ping: self._ping,
        }  # fmt: skip

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle the messages, expire leases, hand out ready tickets, and grant room to watchers."""
        if self._world.monotonic() >= self._reload_at and not self._draining:
            self._reload()
        for envelope in inbox:
            if envelope.peer is not None:
                self._unheard.pop(envelope.peer, None)
            step = self._steps.get(type(envelope.message))
            if step is not None and envelope.peer is not None:
                step(envelope.peer, envelope.message)
            elif isinstance(envelope.message, CancelAsked):
                self._backlog.discard(envelope.message.job_id, before_epoch=envelope.message.epoch)
        self._expire()
        self._hand_out()
        self._offer_room()
        if self._draining and not self.drained:
            self._hand_back()
        return LOOK_S if self._backlog.leased or not self._rebuilt else self._settings.lease_s

    def drain(self) -> None:
        """Hand out nothing more; the remaining jobs return to the store."""
        self._draining = True

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- messages from watchers

    def _push(self, peer: Peer, message: Push) -> None:
        taken = sum(self._backlog.push(ticket) for ticket in message.tickets)
        self._reserved.pop(peer, None)
        self._wished.pop(peer, None)
        self._counts["jobs_pushed"] += taken
        if taken:
            self._last_push_time = self._world.now()
        peer.send(Pushed(taken=taken, known=len(message.tickets) - taken))

    def _reserve(self, peer: Peer, message: Reserve) -> None:
        self._wished[peer] = message.wanted
        self._grant(peer)

    def _grant(self, peer: Peer) -> None:
        self._reserved[peer] = self._free_for(peer) if self._rebuilt and not self._draining else [0 for _ in PRIORITIES]
        peer.send(Room(granted=self._reserved[peer]))

    def _free_for(self, peer: Peer) -> list[int]:
        """The room that others have not reserved, but always a little, so a watcher that wakes up can act while others sleep."""
        self._backlog.capacity = self._admission.room()
        others = [granted for other, granted in self._reserved.items() if other is not peer]
        free = []
        for priority, wanted in enumerate(self._wished[peer]):
            room = self._backlog.room(priority)
            unreserved = room - sum(granted[priority] for granted in others)
            free.append(min(wanted, max(unreserved, min(room, LEAST_GRANT, 1 + self._backlog.capacity // 4))))
        return free

    def _offer_room(self) -> None:
        """Grant room that opened since a watcher got less than it wanted; only in large steps, so that acks cause few messages."""
        for peer, wished in self._wished.items():
            granted = self._reserved.get(peer, [])
            if granted == wished or self._draining or not self._rebuilt:
                continue
            free = self._free_for(peer)
            if any(free[p] > granted[p] and self._is_worth_a_word(p, free[p], granted[p], wished[p]) for p in PRIORITIES):
                self._grant(peer)

    def _is_worth_a_word(self, priority: int, free: int, granted: int, wished: int) -> bool:
        """At least half of what it can get; or anything for a watcher without room that is blocked only by others' reservations."""
        enough = min(wished, self._backlog.capacity) / 2
        return free >= enough or (not granted and self._backlog.room(priority) >= enough)

    # ---- messages from workers

    def _want(self, peer: Peer, message: Want) -> None:
        self._wants.pop(peer, None)
        if message.count > 0:
            self._wants[peer] = message

    def _hand_out(self) -> None:
        """Give each waiting worker an even share, or a portion worth a message if it wants many. It keeps waiting for the rest."""
        while self._wants and self._backlog.ready and not self._draining:
            waiting = list(self._wants.items())
            for number, (peer, want) in enumerate(waiting):
                share = max(math.ceil(self._backlog.ready / (len(waiting) - number)), want.count // PARTS)
                if self._backlog.ready:
                    self._lease(peer, want, min(want.count, share))

    def _lease(self, peer: Peer, want: Want, count: int) -> None:
        """A worker that received tickets goes to the end of the line, unless it still wants many: one worker suits few short jobs.

        It also goes to the end if it has received tickets but sent no message for a while.
        """
        now = self._world.monotonic()
        tickets = self._backlog.pop(count, holder=peer, worker=want.worker, expires_at=now + self._settings.lease_s)
        left = want.count - len(tickets)
        if left < MANY or now - self._unheard.setdefault(peer, now) > SILENCE_S:
            del self._wants[peer]
        if left:
            self._wants[peer] = Want(count=left, worker=want.worker)
        if peer.send(Leased(tickets=tickets, lease_s=self._settings.lease_s)):
            self._counts["jobs_popped"] += len(tickets)
            self._last_pop_time = self._world.now()
        else:
            self._backlog.release_all(peer)
            self._wants.pop(peer, None)

    def _extend(self, peer: Peer, message: Extend) -> None:
        self._backlog.extend(message.leases, holder=peer, expires_at=self._world.monotonic() + self._settings.lease_s)

    def _ack(self, peer: Peer, message: Ack) -> None:
        done = self._backlog.ack(message.leases, holder=peer)
        self._counts["jobs_acked"] += done
        self._admission.note(done)

    def _release(self, peer: Peer, message: Release) -> None:
        self._counts["jobs_released"] += self._backlog.release(message.leases, holder=peer)

    def _forget(self, peer: Peer, message: Closed) -> None:
        """The connection closed: release a worker's leases and a watcher's reservation."""
        self._counts["jobs_recovered"] += self._backlog.release_all(peer)
        for told in (self._wants, self._unheard, self._reserved, self._wished):
            told.pop(peer, None)

    def _expire(self) -> None:
        now = self._world.monotonic()
        if now - self._expired_at >= LOOK_S:
            self._expired_at = now
            self._counts["jobs_recovered"] += self._backlog.expire(now)

    # ---- start and end

    def _reload(self) -> None:
        """Load this host's queued jobs that are missing here; until that has succeeded once, no room is granted.

        Loading a job that has started since it was read does no harm: beginning it again is refused.
        """
        try:
            loaded = sum(self._backlog.push(ticket) for owner in self._owners() for ticket in self._queued_by(owner))
        except StoreUnavailable as fault:
            if not self._reload_failed:
                self._log.warning("queue_reload_postponed", reason=fault.message)
            self._reload_failed = True
            self._reload_at = self._world.monotonic() + LOOK_S
            return
        self._reload_at = self._world.monotonic() + self._settings.lease_s
        self._rebuilt = True
        self._reload_failed = False
        if loaded:
            self._log.info("queue_reloaded", jobs=loaded)

    def _owners(self) -> list[str]:
        return [owner for owner in self._store.holders() if self._is_ours(owner)]

    def _queued_by(self, owner: str) -> Iterator[Ticket]:
        """Skips jobs queued just now, whose watcher is still pushing them; at startup the queue cannot wait for that."""
        until = self._world.now() - ON_ITS_WAY if self._rebuilt else None
        after = None
        while page := self._store.queued_by(owner, limit=PAGE, after=after, until=until):
            yield from page
            after = page[-1].job_id

    def _hand_back(self) -> None:
        """Return queued jobs to pending for the next start; guarded, so a job that a worker has started meanwhile is unaffected."""
        try:
            hand_back(self._store, self._backlog.tickets(), now=self._world.now(), max_lost=self._settings.max_lost)
        except StoreUnavailable as fault:
            self._log.warning("queue_not_handed_back", reason=fault.message)  # the next start recovers them
        self.drained = True

    # ---- requests

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        return ComponentCounters(
            started_at=self._started, depth=self._backlog.depth(),
            stats={
                "queue_id": self._owner.process, "size": self._backlog.size, "ready": self._backlog.ready,
                "leased": self._backlog.leased, **self._counts,
                "jobs_acked": self._counts["jobs_acked"] + self._backlog.overtaken,
                "last_push_time": rfc3339(self._last_push_time), "last_pop_time": rfc3339(self._last_pop_time),
            },
        )  # fmt: skip

    def _items(self, peer: Peer, message: GetItems) -> None:
        peer.send(
            _json(
                {
                    "size": self._backlog.size, "ready": self._backlog.ready, "leased": self._backlog.leased,
                    "items": [self._item(entry) for entry in self._backlog.entries(message.limit)],
                }
            )
        )  # fmt: skip

    def _item(self, entry: Entry) -> dict[str, object]:
        ticket = entry.ticket
        leased = entry.holder is not None
        ends_at = self._world.now() + timedelta(seconds=entry.expires_at - self._world.monotonic()) if leased else None
        return {
            "job_id": ticket.job_id, "task": ticket.task, "queue": ticket.queue, "priority": ticket.priority,
            "state": "leased" if leased else "ready", "leased_by": entry.worker, "lease_expires_at": rfc3339(ends_at),
            "attempt": ticket.attempt,
        }  # fmt: skip

    def _place(self, peer: Peer, message: GetPlace) -> None:
        entry, ahead = self._backlog.place(message.job_id)
        state = None if entry is None else "ready" if entry.holder is None else "leased"
        leased_by = entry.worker if entry is not None else None
        peer.send(_json(Place(state=state, leased_by=leased_by, ahead=ahead, waiting=tuple(self._backlog.waiting()))))

    def _ping(self, peer: Peer, message: Ping) -> None:
        if self._rebuilt:
            peer.send(_json({"status": "healthy"}))
        else:
            peer.send(Refused(code="database_unavailable", message="waiting for the database", retry_after_s=1))


def _json(value: object) -> Json:
    return Json(body=msgspec.json.encode(value))
