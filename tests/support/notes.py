"""The notes that the tasks of the system tests write; see `system_tasks`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import LIMIT_S, wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of the notes."""

    what: str
    job_id: str
    attempt: int
    pid: int
    worker_pid: int
    monotonic_s: float
    wall_s: float
    label: Any = None
    child: int = 0
    words: str = ""


class Notes:
    """The notes file of one test."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes"

    def payload(self, **more: object) -> dict[str, object]:
        """The payload of a job that writes to these notes."""
        return {"notes": str(self.path), **more}

    def read(self, what: str = "begin", job_id: str | None = None) -> list[Note]:
        """The notes of this kind, in the order in which they were written."""
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        notes = [Note(**json.loads(line)) for line in lines]
        return [note for note in notes if note.what == what and job_id in (None, note.job_id)]

    def wait(self, job_id: str, *, what: str = "begin", count: int = 1, within_s: float = LIMIT_S) -> Note:
        """Wait for the `count`-th such note of this job."""
        wait_for(lambda: len(self.read(what, job_id)) >= count, within_s=within_s, told=f"{what!r} {count} of job {job_id}")
        return self.read(what, job_id)[count - 1]

    def labels(self, what: str = "begin") -> list[Any]:
        """The labels of the notes of this kind."""
        return [note.label for note in self.read(what)]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def wait_gone(*pids: int, within_s: float = LIMIT_S) -> None:
    """Wait until none of these processes is alive."""
    wait_for(lambda: not any(map(is_alive, pids)), within_s=within_s, told=f"the end of {pids}, seen from {os.getpid()}")
