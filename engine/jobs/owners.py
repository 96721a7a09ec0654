"""Owners' names: `host:boot:process:generation`, such as `box:9f3a1c22:worker-7001:2`. A name is never reused.

Pids and ports are reused; a boot (one start of a supervisor) has random digits of its own, and the supervisor counts the
generations of each process that it starts.

A job that was leased over HTTP is owned by `http/NAME`, the name that the worker gave itself, which several may share: no host's
name contains a slash. No process of ours proves its death; the end of its lease does.
"""

from __future__ import annotations

from typing import NamedTuple

HTTP = "http/"
"""Precedes the name of an HTTP worker. Names that begin so lie between this text and `AFTER_HTTP`."""

AFTER_HTTP = "http0"


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


def http_owner(worker: str) -> str:
    """The owner's name of an HTTP worker."""
    return HTTP + worker


def http_worker(owner: str | None) -> str | None:
    """The name of the HTTP worker that this owner is; None if it is a process of ours, or nobody."""
    return owner.removeprefix(HTTP) if owner is not None and owner.startswith(HTTP) else None
