"""`GET /metrics`: the counters that components publish to control, in the Prometheus text format (`views.prometheus`).

A scrape wakes no component except one scheduler, which counts the stored jobs. For a component that is down, its last counters and
their age are shown.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Response, request

from jobyard.api.http.query import read_query
from jobyard.api.http.reply import HEADERS
from jobyard.api.http.request_metrics import RequestMetrics
from jobyard.api.views import prometheus as exposition
from jobyard.api.views.jobs import SchedulerClient
from jobyard.api.views.process_meter import ProcessMeter
from jobyard.api.views.prometheus import MEDIA_TYPE, Value, text_of
from jobyard.engine.control.snapshot import RosterRow, Snapshot, Snapshots
from jobyard.engine.errors import Unavailable
from jobyard.engine.metrics import MOST_TASKS, OTHER, ComponentCounters, all_attempts
from jobyard.engine.topology import COUNTING, SUPERVISOR
from jobyard.engine.version import version
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CountJobs, Json, Ping, ReportDue
from jobyard.engine.world import World


class Metrics:
    """The view."""

    def __init__(
        self, scheduler: SchedulerClient, *, snapshots: Snapshots, meter: ProcessMeter, request_metrics: RequestMetrics,
        world: World,
    ) -> None:  # fmt: skip
        self._scheduler = scheduler
        self._snapshots = snapshots
        self._meter = meter
        self._request_metrics = request_metrics
        self._world = world

    def show(self) -> Response:
        """All metrics as text."""
        read_query(request, ())
        snapshot = self._snapshots.take()
        values = [
            *self._of_the_system(), *_of_components(snapshot, self._world), *self._of_processes(snapshot),
            *((exposition.HTTP, labels, histogram) for labels, histogram in self._request_metrics.read().items()),
        ]  # fmt: skip
        return Response(text_of(values), 200, HEADERS, content_type=MEDIA_TYPE)

    def _of_the_system(self) -> Iterator[Value]:
        health, counts = self._ask(Ping()), self._ask(CountJobs())
        database = str(health.get("database", ""))
        yield exposition.BUILD, (version(), platform.python_version(), database), 1.0
        for status, jobs in counts.items():
            yield exposition.JOBS, (status,), jobs
        yield from _of_due(self._answer(ReportDue()) or [])

    def _ask(self, question: Message) -> dict[str, Any]:
        """A scheduler's answer; empty if none is available."""
        return dict(self._answer(question) or {})

    def _answer(self, question: Message) -> Any:
        try:
            answer = self._scheduler.send(question)
        except Unavailable:
            return None
        return msgspec.json.decode(answer.body) if isinstance(answer, Json) else None

    def _of_processes(self, snapshot: Snapshot) -> Iterator[Value]:
        for row in snapshot.rows:
            yield exposition.RESTARTS, (row.name,), row.restarts
            yield exposition.UPTIME, (row.name,), row.uptime_s(self._world.monotonic())
            used = self._meter.used(row.pid)
            if used is not None:
                yield exposition.MEMORY, (row.name,), used.rss_bytes
                yield exposition.CPU, (row.name,), used.cpu_s


def _of_due(due: list[dict[str, Any]]) -> Iterator[Value]:
    """What is due, by queue and by task. A queue or task without due jobs has no series."""
    for label, count_row, age_row in (
        ("queue", exposition.DUE, exposition.OLDEST_DUE), ("task", exposition.TASK_DUE, exposition.TASK_OLDEST_DUE),
    ):  # fmt: skip
        names = {name: name for name in sorted({one[label] for one in due})[:MOST_TASKS]}
        counts: Counter[str] = Counter()
        ages: dict[str, float] = {}
        for one in due:
            name = names.get(one[label], OTHER)
            counts[name] += one["count"]
            ages[name] = max(ages.get(name, 0.0), one["age_s"])
        for name in sorted(counts):
            yield count_row, (name,), counts[name]
            yield age_row, (name,), ages[name]


def _of_components(snapshot: Snapshot, world: World) -> Iterator[Value]:
    """Supervisors are included, although they have no counters."""
    for row in snapshot.rows:
        component = snapshot.components.get(row.name)
        if component is None and row.role not in (SUPERVISOR, *COUNTING):
            continue
        yield exposition.UP, (row.name,), float(snapshot.is_up(row.name))
        if component is not None:
            stale_s = 0.0 if component.stale_since is None else max(0.0, world.monotonic() - component.stale_since)
            yield exposition.AGE, (row.name,), round(stale_s, 3)
            yield from _of_one(row, component.counters)
    depths = [component.counters.depth for component in snapshot.components.values() if component.counters.depth]
    for priority, waiting in enumerate(map(sum, zip(*depths, strict=True))):
        yield exposition.DEPTH, (str(priority),), waiting


def _of_one(row: RosterRow, counters: ComponentCounters) -> Iterator[Value]:
    name = (row.name,)
    for key, metric in exposition.OF_STATS.get(row.role, {}).items():
        if key in counters.stats:
            yield metric, name, counters.stats[key]
    for key, count in counters.counts.items():
        if key in exposition.COUNTS_BY_REASON:
            metric, reason = exposition.COUNTS_BY_REASON[key]
            yield metric, (row.name, reason), count
        else:
            yield exposition.COUNTS[key], name, count
    for key, histogram in counters.histograms.items():
        yield exposition.HISTOGRAMS[key], name, histogram
    for task, outcomes in all_attempts([counters.attempts]).items():
        for outcome, count in outcomes.items():
            yield exposition.ATTEMPTS, (row.name, task, outcome), count
