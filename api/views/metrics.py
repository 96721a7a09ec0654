"""`GET /metrics`: asks every component for what it counts, and tells it in Prometheus' words (`views.prometheus`).

A component that does not answer in time is told as down, and its counters are left out; so they neither stand still nor fall.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from flask import Response, request

from jobyard.api.http.openapi import VERSION
from jobyard.api.http.query import read_query
from jobyard.api.http.reply import HEADERS
from jobyard.api.http.request_metrics import RequestMetrics
from jobyard.api.views import prometheus as exposition
from jobyard.api.views.jobs import SchedulerClient
from jobyard.api.views.process_meter import ProcessMeter
from jobyard.api.views.prometheus import MEDIA_TYPE, Value, text_of
from jobyard.engine.errors import Unavailable
from jobyard.engine.metrics import all_attempts
from jobyard.engine.wire.messages import CountJobs, GetMetrics, GetStats, Json, Message, Ping
from jobyard.engine.wire.messages import Metrics as Told

ASK_S = 1.0
SUPERVISORS = "supervisor"


class Calls(Protocol):
    """What is needed of a `Caller`."""

    def call_all(self, names: Sequence[str], request: Message, *, timeout_s: float) -> Mapping[str, Message | None]:
        """None for whoever has not answered in time."""


class Metrics:
    """The view."""

    def __init__(
        self, caller: Calls, scheduler: SchedulerClient, *, components: Callable[[], list[str]], meter: ProcessMeter,
        request_metrics: RequestMetrics
    ) -> None:  # fmt: skip
        self._caller = caller
        self._scheduler = scheduler
        self._components = components
        self._meter = meter
        self._request_metrics = request_metrics

    def show(self) -> Response:
        """All of it as text."""
        read_query(request, ())
        names = self._components()
        asked = self._caller.call_all([name for name in names if not name.startswith(SUPERVISORS)], GetMetrics(), timeout_s=ASK_S)
        supervisors = self._caller.call_all([name for name in names if name.startswith(SUPERVISORS)], GetStats(), timeout_s=ASK_S)
        values = [
            *self._of_the_whole(), *_of_components(asked), *self._of_processes(supervisors),
            *((exposition.UP, (name,), float(answer is not None)) for name, answer in supervisors.items()),
            *((exposition.HTTP, labels, histogram) for labels, histogram in self._request_metrics.read().items()),
        ]  # fmt: skip
        return Response(text_of(values), 200, HEADERS, content_type=MEDIA_TYPE)

    def _of_the_whole(self) -> Iterator[Value]:
        health, counts = self._ask(Ping()), self._ask(CountJobs())
        database = str(health.get("database", ""))
        yield exposition.BUILD, (VERSION, platform.python_version(), database), 1.0
        for status, jobs in counts.items():
            yield exposition.JOBS, (status,), jobs

    def _ask(self, question: Message) -> dict[str, Any]:
        """Of a scheduler; nothing while there is none that can say."""
        try:
            answer = self._scheduler.send(question)
        except Unavailable:
            return {}
        return dict(msgspec.json.decode(answer.body)) if isinstance(answer, Json) else {}

    def _of_processes(self, supervisors: Mapping[str, Message | None]) -> Iterator[Value]:
        for answer in supervisors.values():
            for process in msgspec.json.decode(answer.body)["processes"] if isinstance(answer, Json) else ():
                process_name = (process["name"],)
                yield exposition.RESTARTS, process_name, process.get("restarts", 0)
                yield exposition.UPTIME, process_name, process.get("uptime_s", 0)
                used = self._meter.used(process.get("pid"))
                if used is not None:
                    yield exposition.MEMORY, process_name, used.rss_bytes
                    yield exposition.CPU, process_name, used.cpu_s


def _of_components(answers: Mapping[str, Message | None]) -> Iterator[Value]:
    for name, answer in answers.items():
        yield exposition.UP, (name,), float(answer is not None)
        if isinstance(answer, Told):
            yield from _of_one(name, answer)
    depths = [answer.depth for answer in answers.values() if isinstance(answer, Told) and answer.depth]
    for priority, waiting in enumerate(map(sum, zip(*depths, strict=True))):
        yield exposition.DEPTH, (str(priority),), waiting


def _of_one(name: str, told: Told) -> Iterator[Value]:
    stats: dict[str, Any] = msgspec.json.decode(told.stats)
    for key, row in exposition.OF_STATS.get(name.rpartition("-")[0], {}).items():
        if key in stats:
            yield row, (name,), stats[key]
    for key, count in told.counts.items():
        yield exposition.COUNTS[key], (name,), count
    for key, histogram in told.histograms.items():
        yield exposition.HISTOGRAMS[key], (name,), histogram
    for task, outcomes in all_attempts([told.attempts]).items():
        for outcome, count in outcomes.items():
            yield exposition.ATTEMPTS, (name, task, outcome), count
