"""The last hour, minute by minute: the counts of workers and schedulers, merged.

Each process keeps its own counts and loses them when it ends, so the counts of replaced processes are missing. Minutes are numbered
by the host's monotonic clock; only this module converts them to times of day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from flask import request

from jobyard.api.http.query import read_query
from jobyard.api.http.reply import Reply, value_reply
from jobyard.api.views.shown import shown_age
from jobyard.engine.control.publisher import LATEST
from jobyard.engine.control.publisher import MINUTES as MINUTES_PART
from jobyard.engine.control.snapshot import Snapshots
from jobyard.engine.metrics import MINUTE_S, MINUTES, Histogram, Minute, minute_of, together
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.world import World

COUNTS = {"accepted": "accepted", "succeeded": "jobs_succeeded", "failed": "jobs_failed", "retried": "jobs_retried"}
HISTOGRAMS = {"lag_ms": "lag", "duration_ms": "run"}
PERCENTILES = (50, 95, 99)


class History:
    """The view."""

    def __init__(self, snapshots: Snapshots, world: World) -> None:
        self._snapshots = snapshots
        self._world = world

    def show(self) -> Reply:
        """Sixty minutes, oldest first, and the current depth of the queue."""
        read_query(request, ())
        snapshot = self._snapshots.take(LATEST, MINUTES_PART)
        counters = [component.counters for component in snapshot.components.values()]
        last = minute_of(self._world)
        by_number: dict[int, list[Minute]] = {number: [] for number in range(last - MINUTES + 1, last + 1)}
        for minute in (minute for one in counters for minute in (*one.minutes, one.minute) if minute is not None):
            by_number.get(minute.number, []).append(minute)
        depth = [sum(column) for column in zip(*(one.depth for one in counters if one.depth), strict=True)] or [0] * 10
        return value_reply(
            {
                "minutes": [{"at": self._at(number), **_merged(minutes)} for number, minutes in by_number.items()],
                "queue_depth": {str(priority): waiting for priority, waiting in enumerate(depth)},
                **shown_age(snapshot.away_since, self._world),
            }
        )

    def _at(self, number: int) -> str | None:
        """When the minute began by the present wall clock, rounded to a second."""
        began_at = self._world.now() - timedelta(seconds=self._world.monotonic() - number * MINUTE_S)
        return rfc3339((began_at + timedelta(milliseconds=500)).replace(microsecond=0))


def _merged(minutes: list[Minute]) -> dict[str, object]:
    counts = {shown: sum(minute.totals.counts.get(name, 0) for minute in minutes) for shown, name in COUNTS.items()}
    histograms = {
        shown: _percentiles(minute.totals.histograms[name] for minute in minutes if name in minute.totals.histograms)
        for shown, name in HISTOGRAMS.items()
    }
    return {**counts, **histograms}


def _percentiles(histograms: Iterable[Histogram]) -> dict[str, float] | None:
    merged = together(histograms)
    seconds = {percent: merged.percentile(percent) for percent in PERCENTILES}
    known = {f"p{percent}": round(1000 * value, 3) for percent, value in seconds.items() if value is not None}
    return known or None
