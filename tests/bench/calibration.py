"""The machine's own speed, measured in the same run, so that figures of two runs can be compared as ratios."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

ROUNDS = 3
LOOP_TURNS = 2_000_000
FSYNCS = 100
PAGE = b"\0" * 4096


def loop_per_s() -> float:
    """Iterations per second of a Python loop that adds one."""
    return statistics.median(LOOP_TURNS / _loop_s() for _ in range(ROUNDS))


def fsync_per_s(folder: Path) -> float:
    """Pages per second that are appended and synced one by one."""
    path = folder / "calibration"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began = time.monotonic()
        for _ in range(FSYNCS):
            os.write(fd, PAGE)
            os.fsync(fd)
        return FSYNCS / (time.monotonic() - began)
    finally:
        os.close(fd)
        path.unlink()


def _loop_s() -> float:
    began, total = time.monotonic(), 0
    for _ in range(LOOP_TURNS):
        total += 1
    return time.monotonic() - began
