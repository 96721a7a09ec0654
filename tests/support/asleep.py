"""Whether processes sleep, by what state they are seen in: a process that spins is never asleep, however busy the machine is."""

from __future__ import annotations

from pathlib import Path

from tests.support.waiting import wait_for

LOOKS = 100


def times_asleep(pid: int) -> int:
    """In how many of `LOOKS` looks all threads of the process slept."""
    seen: list[bool] = []
    wait_for(lambda: len(seen) == LOOKS or seen.append(_sleeps(pid)))
    return sum(seen)


def _sleeps(pid: int) -> bool:
    stats = [(thread / "stat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    return all(stat.rpartition(")")[2].split()[0] in "SDI" for stat in stats)
