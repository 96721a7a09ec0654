"""Tasks that sign a guestbook at their first line: how the benchmark learns when something ran."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from jobyard import current_job, task

Invitation = dict[str, Any]


@task("bench_start")
def sign(payload: Invitation) -> None:
    """Sign and leave."""
    _sign(payload, time.monotonic_ns(), time.time_ns()).close()


@task("bench_hold")
def stay(payload: Invitation) -> None:
    """Sign and stay until the guestbook's keeper says or hangs up."""
    with _sign(payload, time.monotonic_ns(), time.time_ns()) as line:
        line.recv(1)


@task("bench_second")
def stay_a_second(payload: Invitation) -> None:
    """Sign and stay for one second."""
    with _sign(payload, time.monotonic_ns(), time.time_ns()):
        time.sleep(1)


def _sign(invitation: Invitation, monotonic_ns: int, wall_ns: int) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(invitation["guestbook"])
    entry = {
        "number": invitation["number"], "attempt": current_job().attempt, "pid": os.getpid(),
        "monotonic_ns": monotonic_ns, "wall_ns": wall_ns,
    }  # fmt: skip
    line.sendall(json.dumps(entry).encode() + b"\n")
    return line
