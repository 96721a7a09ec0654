"""The last hour, minute by minute: what workers and schedulers counted, put together.

Each process counts for itself and forgets with its end, so what a process that was replaced had counted is missing. Minutes are
the host's, by its monotonic clock; only here they get a time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from flask import request

from jobyard.api.http.query import read_query
from jobyard.api.http.reply import Reply, value_reply
from jobyard.engine.metrics import MINUTE_S, MINUTES, Histogram, Minute, minute_of, together
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.messages import GetHistory, Message
from jobyard.engine.wire.messages import History as Told
from jobyard.engine.world import World

ASK_S = 1.0
COUNTS = {"accepted": "accepted", "succeeded": "jobs_succeeded", "failed": "jobs_failed", "retried": "jobs_retried"}
HISTOGRAMS = {"lag_ms": "lag", "duration_ms": "run"}
PERCENTILES = (50, 95, 99)
HAVE_SOME = ("scheduler", "worker", "queue")


class Calls(Protocol):
    """What is needed of a `Caller`."""

    def call_all(self, names: Sequence[str], request: Message, *, timeout_s: float) -> Mapping[str, Message | None]:
        """None for whoever has not answered in time."""


class History:
    """The view."""

    def __init__(self, caller: Calls, *, components: Callable[[], list[str]], world: World) -> None:
        self._caller = caller
        self._components = components
        self._world = world

    def show(self) -> Reply:
        """Sixty minutes, oldest first, and what waits in the queue now."""
        read_query(request, ())
        asked = [name for name in self._components() if name.startswith(HAVE_SOME)]
        answers = self._caller.call_all(asked, GetHistory(), timeout_s=ASK_S).values()
        told = [answer for answer in answers if isinstance(answer, Told)]
        last = minute_of(self._world)
        by_number: dict[int, list[Minute]] = {number: [] for number in range(last - MINUTES + 1, last + 1)}
        for minute in (minute for one in told for minute in one.minutes):
            by_number.get(minute.number, []).append(minute)
        depth = [sum(column) for column in zip(*(one.depth for one in told if one.depth), strict=True)] or [0] * 10
        return value_reply(
            {
                "minutes": [{"at": self._at(number), **_merged(minutes)} for number, minutes in by_number.items()],
                "queue_depth": {str(priority): waiting for priority, waiting in enumerate(depth)},
            }
        )

    def _at(self, number: int) -> str | None:
        """When it began, by the clock of now, to the second."""
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
