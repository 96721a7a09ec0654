"""Owners' names: `host:boot:process:generation`, such as `box:9f3a1c22:worker-7001:2`. A name is never reused.

Pids and ports are reused; a boot (one start of a supervisor) has random digits of its own, and the supervisor counts the
generations of each process that it starts.
"""

from __future__ import annotations

from typing import NamedTuple


class Owner(NamedTuple):
    """The process that holds a job."""

    host: str
    boot: str
    process: str
    generation: int

    def __str__(self) -> str:
        return f"{self.host}:{self.boot}:{self.process}:{self.generation}"


def parse_owner(name: str) -> Owner:
    """Parse `str(owner)`; raises `ValueError` for anything else."""
    host, boot, process, generation = name.rsplit(":", 3)
    return Owner(host, boot, process, int(generation))
