"""The HTTP workers that asked this scheduler for jobs, by the names that they gave themselves; kept in memory only."""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.leases.requests import LeaseRequest
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.world import World

MOST_SHOWN = 100
FORGET_S = 600


class Seen(msgspec.Struct, kw_only=True):
    """One worker: what it asked for last, and when."""

    name: str
    tasks: tuple[str, ...]
    queues: tuple[str, ...] | None
    seen_at: datetime
    seen_s: float


class HttpWorkers:
    """Those of one scheduler."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen: dict[str, Seen] = {}

    def note(self, wanted: LeaseRequest) -> None:
        """This worker asks for jobs."""
        now_s = self._world.monotonic()
        self._seen.pop(wanted.worker, None)
        self._seen[wanted.worker] = Seen(
            name=wanted.worker, tasks=wanted.tasks, queues=wanted.queues, seen_at=self._world.now(), seen_s=now_s
        )
        oldest = next(iter(self._seen.values()))
        if oldest.seen_s < now_s - FORGET_S:
            del self._seen[oldest.name]

    def shown(self) -> list[dict[str, object]]:
        """Those that asked last, newest first."""
        newest = list(self._seen.values())[: -MOST_SHOWN - 1 : -1]
        return [
            {
                "name": one.name, "tasks": list(one.tasks), "queues": None if one.queues is None else list(one.queues),
                "last_seen_at": rfc3339(one.seen_at),
            }
            for one in newest
        ]  # fmt: skip
