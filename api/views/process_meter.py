"""Measures memory and CPU time of the processes that `/stats` and `/metrics` list."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from jobyard.engine.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """The resident memory of a process, and the CPU time it has used since it started."""

    rss_bytes: int
    cpu_s: float


class ProcessMeter:
    """Keeps the previous measurement, because CPU percentages refer to the time between two measurements."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        self._known: dict[int, tuple[psutil.Process, float, float, float]] = {}

    def measured(self, processes: Sequence[dict[str, object]]) -> list[dict[str, object]]:
        """The processes with `rss_bytes` and `cpu_percent` added.

        100 % is one core; the time is since the last measurement, or since the process started.
        """
        with self._lock:
            shown = [process | self._measure(process.get("pid")) for process in processes]
            living = {process.get("pid") for process in processes}
            self._known = {pid: known for pid, known in self._known.items() if pid in living}
        return shown

    def used(self, pid: object) -> Used | None:
        """The usage of this pid; None if there is no such process."""
        if not isinstance(pid, int):
            return None
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                return Used(rss_bytes=process.memory_info().rss, cpu_s=sum(process.cpu_times()[:2]))
        except psutil.Error:
            return None

    def _measure(self, pid: object) -> dict[str, object]:
        if not isinstance(pid, int):
            return {"rss_bytes": 0, "cpu_percent": 0.0}
        try:
            process, at, used_s, percent = self._known.get(pid) or self._begin(pid)
            with process.oneshot():
                now, now_used_s = self._world.monotonic(), sum(process.cpu_times()[:2])
                rss = process.memory_info().rss
        except psutil.Error:
            return {"rss_bytes": 0, "cpu_percent": 0.0}
        if now - at >= 0.5:
            percent = round(100 * (now_used_s - used_s) / (now - at), 1)
            at, used_s = now, now_used_s
        self._known[pid] = (process, at, used_s, percent)
        return {"rss_bytes": rss, "cpu_percent": percent}

    def _begin(self, pid: int) -> tuple[psutil.Process, float, float, float]:
        process = psutil.Process(pid)
        age_s = max(0.01, self._world.now().timestamp() - process.create_time())
        return process, self._world.monotonic() - age_s, 0.0, 0.0
