"""The table of all metrics, with names, types and meanings, and its rendering in the Prometheus text format.

Every value is counted by one component and labelled with its name. When a component is replaced its counters restart at 0, as
Prometheus expects. Nothing is counted here, and a registry lives for one response only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from jobyard.engine.metrics import BOUNDS_S, Histogram
from jobyard.engine.schedules.schedule import REASONS

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FEW_BOUNDS_S = (0.001, 0.0025, 0.0063, 0.01, 0.025, 0.063, 0.1, 0.25, 0.63, 1.0, 2.5, 10.0)
"""The bounds shown for HTTP metrics, a subset of `BOUNDS_S`, because there are many routes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric; `name` excludes the suffix that its kind adds."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ("component",)


def _row(name: str, kind: str, meaning: str, *labels: str) -> Row:
    return Row(name=f"jobyard_{name}", kind=kind, meaning=meaning, labels=labels)


BUILD = _row("build", "info", "Versions of Jobyard, Python and the database", "version", "python", "database")
UP = _row("component_up", "gauge", "1 when the component is up, otherwise 0", "component")
AGE = _row("component_stale_seconds", "gauge", "Age of a component's counters if it no longer updates them, otherwise 0",
           "component")  # fmt: skip
JOBS = _row("jobs", "gauge", "Stored jobs, by status", "status")
DUE = _row("jobs_due", "gauge", "Due jobs, by queue (at most 100, the rest are `other`); of a task and priority, up to 10,000",
           "queue")  # fmt: skip
OLDEST_DUE = _row("oldest_due_job_seconds", "gauge", "How long the oldest due job of a queue has been due", "queue")
TASK_DUE = _row("task_jobs_due", "gauge", "Due jobs, by task (at most 100, the rest are `other`), counted likewise", "task")
TASK_OLDEST_DUE = _row("task_oldest_due_job_seconds", "gauge", "How long the oldest due job of a task has been due", "task")
DEPTH = _row("queue_depth", "gauge", "Due jobs that wait for a worker, by priority, counted up to 10,000 each", "priority")
ATTEMPTS = _row("attempts", "counter", "Attempts that ended, by task (at most 100, the rest are `other`) and outcome",
                "component", "task", "outcome")  # fmt: skip
LAG = _row("job_lag_seconds", "histogram", "Time from when a job was due until an attempt began", "component")
FIRES = _row("schedule_fires", "counter", "Fires of schedules that have a job", "component")
MISSED = _row("schedule_missed", "counter", "Fire times of schedules that have no job, by reason", "component", "reason")
FIRE_LAG = _row("schedule_lag_seconds", "histogram", "Time from a schedule's fire time until its job was stored", "component")
RUN = _row("run_seconds", "histogram", "Duration of attempts, as recorded in their executions", "component")
HTTP = _row("http_request_seconds", "histogram", "Time until a response was ready, by route and class of status", "route", "status")
MEMORY = _row("process_resident_memory_bytes", "gauge", "Resident memory of a process", "process")
CPU = _row("process_cpu_seconds", "counter", "CPU time used by a process", "process")
RESTARTS = _row("process_restarts", "counter", "Times a process has been replaced", "process")
UPTIME = _row("process_uptime_seconds", "gauge", "Time since a process started", "process")
STALE = _row("stale_writes", "counter", "Guarded writes that changed nothing because the job had changed hands", "component")
UNBLOCKED = _row("jobs_unblocked", "counter", "Blocked jobs that became pending: what they waited for had ended", "component")
NOT_RUN = _row("jobs_cancelled_by_dependency", "counter", "Blocked jobs cancelled by how what they waited for ended", "component")
RESTORED = _row("jobs_restored", "counter", "Jobs cancelled by a dependency that its retry made blocked again", "component")
RECOVERED = _row("jobs_recovered", "counter", "Jobs recovered from owners that are proven dead", "component")
LEASED = _row("http_leases", "counter", "Jobs leased to HTTP workers", "component")
LEASES_ENDED = _row("http_leases_ended", "counter", "Leases of HTTP workers that ended because they were not extended", "component")

OF_STATS: Mapping[str, Mapping[str, Row]] = {
    "scheduler": {
        "jobs_accepted": _row("jobs_accepted", "counter", "Jobs accepted and stored", "component"),
        "requests": _row("scheduler_requests", "counter", "Submissions and other requests that a scheduler has read", "component"),
    },
    "watcher": {
        "jobs_claimed": _row("jobs_claimed", "counter", "Jobs claimed by a watcher", "component"),
        "jobs_queued": _row("jobs_queued", "counter", "Claimed jobs that the queue has confirmed", "component"),
        "claim_conflicts": _row("claim_conflicts", "counter", "Due jobs that another watcher claimed first", "component"),
        "polls": _row("watcher_polls", "counter", "Polls of the database caused only by the poll interval", "component"),
    },
    "queue": {
        "jobs_pushed": _row("queue_pushed", "counter", "Jobs pushed to the queue, begun at a worker", "component"),
        "jobs_popped": _row("queue_popped", "counter", "Leases given to workers", "component"),
        "jobs_acked": _row("queue_acked", "counter", "Leases acknowledged by workers", "component"),
        "jobs_released": _row("queue_released", "counter", "Leases released by workers", "component"),
        "jobs_recovered": _row("queue_leases_expired", "counter", "Leases that expired or whose worker disconnected", "component"),
        "leased": _row("queue_leased", "gauge", "Leases that workers currently hold", "component"),
    },
    "worker": {
        "jobs_succeeded": _row("jobs_succeeded", "counter", "Jobs that completed", "component"),
        "jobs_failed": _row("jobs_failed", "counter", "Jobs that failed permanently", "component"),
        "jobs_retried": _row("jobs_retried", "counter", "Failed attempts that will be retried", "component"),
        "jobs_lost": _row("jobs_lost", "counter", "Outcomes discarded because the job had changed hands", "component"),
        "concurrency": _row("worker_slots", "gauge", "Jobs that a worker can run at once", "component"),
        "currently_running": _row("worker_slots_busy", "gauge", "Jobs that a worker is running", "component"),
        "has_template": _row("worker_has_template", "gauge", "Whether a worker has a template to fork executors from", "component"),
    },
}  # fmt: skip
"""The metrics for fields of `/stats`, by role and field name."""

HISTOGRAMS = {"lag": LAG, "run": RUN, "fire_lag": FIRE_LAG}
COUNTS = {"stale_writes": STALE, "recovered": RECOVERED, "fires": FIRES, "jobs_unblocked": UNBLOCKED, "jobs_not_run": NOT_RUN,
          "jobs_restored": RESTORED, "leased": LEASED, "leases_ended": LEASES_ENDED}  # fmt: skip
COUNTS_BY_REASON = {f"missed_{reason}": (MISSED, reason) for reason in REASONS}
ROWS: tuple[Row, ...] = (
    BUILD, UP, AGE, JOBS, DUE, OLDEST_DUE, TASK_DUE, TASK_OLDEST_DUE,
    *(row for rows in OF_STATS.values() for row in rows.values()), ATTEMPTS, DEPTH, LAG, RUN, FIRES,
    MISSED, FIRE_LAG, UNBLOCKED, NOT_RUN, RESTORED, STALE,
    RECOVERED, LEASED, LEASES_ENDED, HTTP, MEMORY, CPU, RESTARTS, UPTIME,
)  # fmt: skip
"""All metrics, in the order of the output."""

Value = tuple[Row, tuple[str, ...], float | Histogram]
"""A metric, the values of its labels, and its value."""


def text_of(values: Iterable[Value]) -> bytes:
    """Render in the Prometheus text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(_families(values)))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        return self._families


def _families(values: Iterable[Value]) -> list[Metric]:
    by_row: dict[str, list[Value]] = {row.name: [] for row in ROWS}
    for value in values:
        by_row[value[0].name].append(value)
    return [_family(of_one[0][0], of_one) for of_one in by_row.values() if of_one]


def _family(row: Row, values: Sequence[Value]) -> Metric:
    if row.kind == "info":
        info = InfoMetricFamily(row.name, row.meaning)
        for _, labels, _ in values:
            info.add_metric([], dict(zip(row.labels, labels, strict=True)))
        return info
    if row.kind == "histogram":
        histograms = HistogramMetricFamily(row.name, row.meaning, labels=row.labels)
        for _, labels, histogram in values:
            assert isinstance(histogram, Histogram)
            histograms.add_metric(
                labels, list(_buckets(histogram, FEW_BOUNDS_S if row is HTTP else BOUNDS_S)), sum_value=histogram.sum_s
            )
        return histograms
    kind = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    family = kind(row.name, row.meaning, labels=row.labels)
    for _, labels, number in values:
        assert not isinstance(number, Histogram)
        family.add_metric(labels, number)
    return family


def _buckets(histogram: Histogram, shown: Sequence[float]) -> Iterator[tuple[str, float]]:
    """The cumulative counts for the shown bounds, and the total."""
    passed = 0
    for bound, count in zip(BOUNDS_S, histogram.counts, strict=False):
        passed += count
        if bound in shown:
            yield str(bound), passed
    yield "+Inf", histogram.count
