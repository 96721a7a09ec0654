"""The resources of a running system as the kernel sees them: memory, descriptors, processes, the database's log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.system import Jobyard

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading. Memory is the sum of PSS, so that shared pages count once."""

    memory_mib: float
    descriptors: int
    processes: int
    log_mib: float

    def __str__(self) -> str:
        return (
            f"{self.memory_mib:.1f} MiB, {self.descriptors} descriptors, {self.processes} processes, log {self.log_mib:.1f} MiB"
        )  # fmt: skip


def read_gauges(jobyard: Jobyard) -> Reading:
    """Read the gauges of guard, supervisor and all their descendants; a process that ends meanwhile counts as zero."""
    pids = [process.pid for process in tree(jobyard)]
    return Reading(
        memory_mib=sum(memory_mib(pid) for pid in pids), descriptors=sum(_descriptors(pid) for pid in pids),
        processes=len(pids), log_mib=log_mib(jobyard),
    )  # fmt: skip


def tree(jobyard: Jobyard) -> list[psutil.Process]:
    """All processes of a system."""
    guard = psutil.Process(jobyard.guard_pid)
    return [guard, *guard.children(recursive=True)]


def memory_mib(pid: int) -> float:
    """PSS of one process."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def log_mib(jobyard: Jobyard) -> float:
    """The size of the database's write-ahead log."""
    return sum(path.stat().st_size for path in jobyard.data_dir.glob("*-wal")) / MIB


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
