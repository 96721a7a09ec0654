"""The figures of the benchmark: one row each, with its unit and goal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A figure that can be measured. `goal`: its lower or upper bound, in its unit."""

    name: str
    meaning: str
    unit: str
    goal: float | None = None
    higher_is_better: bool = False

    def is_met_by(self, value: float) -> bool | None:
        """Whether the goal is reached; None when there is none."""
        if self.goal is None:
            return None
        return value >= self.goal if self.higher_is_better else value <= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured value. `note`: what makes it doubtful, or what it hides."""

    kind: Kind
    value: float
    note: str = ""


def _fast(name: str, meaning: str, goal: float | None = None, unit: str = "jobs/s") -> Kind:
    return Kind(name=name, meaning=meaning, unit=unit, goal=goal, higher_is_better=True)


def _small(name: str, meaning: str, unit: str, goal: float | None = None) -> Kind:
    return Kind(name=name, meaning=meaning, unit=unit, goal=goal)


ROLE_WORDS = {
    "gateway": "the front", "scheduler": "the schedulers", "watcher": "the watchers", "queue": "the queue", "worker": "the workers",
    "executor": "the executors", "supervisor": "the supervisor", "all": "all processes",
}  # fmt: skip
"""The parts of a job's cost, in the order in which a job passes through them."""

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _small("start_s", "bin/start-all until its ready line", "s", 1.5),
        _small("memory_idle_mib", "summed PSS of all processes, fresh", "MiB", 220),
        _small("idle_cpu_percent", "CPU of all processes with nothing to do", "% core", 0.5),
        _small("latency_p50_ms", "request sent to first line of the task, idle", "ms", 4),
        _small("latency_p99_ms", "the same, one in a hundred is slower", "ms", 12),
        _small("lateness_p50_ms", "scheduled_at to first line of the task, idle", "ms"),
        _small("lateness_p99_ms", "the same, one in a hundred is later", "ms", 20),
        _small("lateness_crowd_p99_ms", "the same of 1,000 jobs that are due in one second", "ms", 150),
        _fast("earliest_ms", "the least lateness of all these; below 0 one ran too early", 0, "ms"),
        _fast("single_per_s", "jobs due later, submitted one by one", 2500),
        _small("single_p50_ms", "how long such a request takes", "ms"),
        _small("single_p99_ms", "the same, one in a hundred takes longer", "ms"),
        _fast("batch_per_s", "jobs due later, submitted by the thousand", 25000),
        _fast("end_to_end_per_s", "no-op jobs by the thousand, first request to last completed", 8000),
        _fast("end_to_end_batch_per_s", "how fast those were accepted meanwhile"),
        _fast("single_end_to_end_per_s", "no-op jobs one by one, first request to last completed", 1800),
        _fast("single_end_to_end_accepted_per_s", "how fast those were accepted meanwhile"),
        _fast("drain_per_s", "no-op jobs that all become due at one moment", 8000),
        _fast("busy_slots_percent", "of the slots' time that one-second jobs fill", 98, "%"),
        _small("memory_after_mib", "summed PSS of all processes after many jobs", "MiB", 264),
        _small("memory_growth", "that against fresh", "ratio", 1.2),
        _small("recovery_worker_s", "kill -9 of a worker until all its jobs run again", "s", 1),
        _small("recovery_executor_s", "kill -9 of an executor until its job runs again", "s", 0.2),
        _small("recovery_queue_s", "kill -9 of the queue until a new job runs", "s", 1),
        _small("recovery_watcher_s", "kill -9 of all watchers until a new job runs", "s", 1),
        _small("recovery_scheduler_s", "kill -9 of all schedulers until a new job runs", "s", 1),
        _small("recovery_gateway_s", "kill -9 of the front until a new job runs", "s", 1),
        _small("outage_watcher_s", "kill -9 of all watchers: longest time between two good answers", "s", 1),
        _small("outage_scheduler_s", "the same, of all schedulers", "s", 1),
        _small("outage_queue_s", "the same, of the queue", "s", 1),
        _small("outage_gateway_s", "the same, of the front", "s", 1),
        _small("queue_content_s", "kill -9 of the queue until it shows all waiting jobs again", "s", 1),
        _small("hang_worker_s", "SIGSTOP of a worker until all its jobs run again", "s", 13),
        _small("hang_queue_s", "SIGSTOP of the queue until a new job runs", "s", 13),
        _small("memory_mib", "summed PSS of all processes after all that", "MiB"),
        _small("recovery_supervisor_s", "kill -9 of the supervisor, restarted as by systemd, until a new job runs", "s", 3),
        _small("stop_s", "SIGTERM until everything has ended", "s"),
        _small("claim_growth", "claim of 100 jobs with many stored against few", "ratio", 1.5),
        _small("list_growth", "list of 100 jobs with many stored against few", "ratio", 1.5),
        *(
            _small(f"cost_{way}_{role}_us", f"CPU of {ROLE_WORDS[role]} for one job, submitted {words}", "µs")
            for way, words in (("batch", "by the thousand"), ("single", "one by one"))
            for role in ROLE_WORDS
        ),
        _fast("calibration_loop_per_s", "iterations of an empty Python loop on one core here", None, "1/s"),
        _fast("calibration_fsync_per_s", "4 KiB writes with fsync in the data folder", None, "1/s"),
    )
}
"""By name, in the order of the table."""


def figure(name: str, value: float, note: str = "") -> Figure:
    """A value of the kind with this name."""
    return Figure(kind=KINDS[name], value=value, note=note)
