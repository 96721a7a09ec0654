"""A worker's connection to the queue: what it can take, what it holds, what it is done with. Made again whenever it breaks.

What it can take is told as a limit on everything received since the connection was made (see `queue_messages.Want`), and only when
it has changed by as much as a slot, or by half of all that is offered, so that short jobs cost few messages.

What is sent while there is no connection is lost, which is harmless: a new queue knows no leases, and an old one ends them with the
connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.wire.queue_messages import Ack, Extend, Release, Want
from jobyard.engine.worker.slot import Key


class QueueClient:
    """The connection of one worker."""

    def __init__(self, *, connector: QueueConnector, owner: str) -> None:
        self._connector = connector
        self._owner = owner
        self._peer: Peer | None = None
        self._received = 0
        self._limits: tuple[int, int] | None = None
        self._costs: dict[str, int] = {}
        self._seen_costs: Mapping[str, int] | None = None
        self._unanswered_closings = 0

    @property
    def is_withdrawn(self) -> bool:
        """Whether nothing more can come from this queue, except what may have been delivered before."""
        return self._peer is None or (self._limits is None and not self._unanswered_closings)

    @property
    def is_open(self) -> bool:
        """Whether there is a queue."""
        return self._peer is not None

    @property
    def name(self) -> str:
        """The name of the queue that is, was, or should be connected."""
        return self._connector.name

    def connect(self) -> bool:
        """Connect if there is no connection; whether one was made now."""
        if self._peer is not None:
            return False
        self._peer = self._connector.connect()
        self._received, self._limits, self._costs, self._seen_costs, self._unanswered_closings = 0, None, {}, None, 0
        return self._peer is not None

    def note_closed(self, peer: Peer | None) -> bool:
        """This peer is gone; whether it was the queue."""
        if self._peer is None or peer is not self._peer:
            return False
        self._peer = None
        return True

    def note_received(self, units: int) -> None:
        """Jobs of so many units have arrived."""
        self._received += units

    def offer(self, free: int, ahead: int, costs: Mapping[str, int]) -> None:
        """So many units are free, and so many more for short jobs. Sent if it differs enough.

        `costs`: units by task; must be another object when it has changed.
        """
        limit, short_limit = self._limits_for(free, ahead)
        changed: dict[str, int] = {}
        if costs is not self._seen_costs:
            changed = {task: cost for task, cost in costs.items() if self._costs.get(task) != cost}
        if self._limits is not None and not changed:
            known_slots = max(0, self._limits[0] - self._received) // SLOT_UNITS
            is_same = abs(limit - self._limits[0]) < SLOT_UNITS // 2 and known_slots == free // SLOT_UNITS
            if is_same and abs(short_limit - self._limits[1]) < max(SLOT_UNITS // 2, (free + ahead) // 2):
                return
        if self._send(Want(owner=self._owner, limit=limit, short_limit=short_limit, costs=changed)):
            self._limits = limit, short_limit
            self._costs.update(changed)
            self._seen_costs = costs

    def close_offer(self) -> None:
        """Nothing more can be taken for now."""
        if self._limits is not None and self._send(Want(owner=self._owner, is_closed=True)):
            self._limits = None
            self._unanswered_closings += 1

    def note_withdrawn(self) -> None:
        """The queue has received that nothing more can be taken."""
        self._unanswered_closings = max(0, self._unanswered_closings - 1)

    def extend(self, keys: Iterable[Key]) -> None:
        """Extend these leases."""
        self._send_keys(Extend, keys)

    def ack(self, keys: Iterable[Key], room: tuple[int, int]) -> None:
        """These jobs are settled; what is free now is told along with it."""
        leases = list(keys)
        if not leases:
            return
        if self._limits is None:
            self._send(Ack(leases=leases))
            return
        self._limits = self._limits_for(*room)
        self._send(Ack(leases=leases, limit=self._limits[0], short_limit=self._limits[1]))

    def release(self, keys: Iterable[Key]) -> None:
        """These jobs were returned unstarted."""
        self._send_keys(Release, keys)

    def _limits_for(self, free: int, ahead: int) -> tuple[int, int]:
        return self._received + free, self._received + free + ahead

    def _send_keys(self, kind: type[Extend] | type[Release], keys: Iterable[Key]) -> None:
        leases = list(keys)
        if leases:
            self._send(kind(leases=leases))

    def _send(self, message: Message) -> bool:
        return self._peer is not None and self._peer.send(message)
