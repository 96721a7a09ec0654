"""What a running task sees: its job, and the words in which it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

MAX_NOTE_CHARS = 200


class Retry(Exception):
    """Try again after `delay_s` seconds, or after the usual delay; counts as a retry."""

    def __init__(self, message: str = "the task asked to be tried again", *, delay_s: float | None = None) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Unrecoverable(Exception):
    """Trying again is useless: straight to failed."""


class Interrupted(BaseException):
    """The attempt must end now. No `Exception`, so that a task which swallows those does not swallow it."""


class JobTimeout(Interrupted):
    """Its time is up."""


class JobCancelled(Interrupted):
    """Somebody cancelled it."""


class JobReleased(Interrupted):
    """The system stops; the job is handed back and runs again elsewhere or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentJob:
    """The job that is executed now. `deadline`: when its time is up, an aware datetime."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    deadline: datetime
    report: Callable[[CurrentJob, float, str], None] = field(repr=False)

    def progress(self, fraction: float, note: str = "") -> None:
        """Tell how far it is: from 0 to 1, and in words where. It goes to the log, a few times a second at most."""
        words = str(note)[:MAX_NOTE_CHARS].encode("utf-8", "replace").decode().replace("\0", "\\0")[:MAX_NOTE_CHARS]
        self.report(self, min(1.0, max(0.0, float(fraction))), words)


_running: list[CurrentJob] = []


def current_job() -> CurrentJob:
    """The job whose task calls this; raises `RuntimeError` outside of one."""
    if not _running:
        raise RuntimeError("current_job() is for tasks while a worker executes them")
    return _running[-1]


class executing:
    """A context manager: makes it the current job; afterwards it is the one before again, where a task runs another one inline."""

    __slots__ = ("_job", "_outer")

    def __init__(self, job: CurrentJob) -> None:
        self._job = job

    def __enter__(self) -> None:
        self._outer = len(_running)
        _running.append(self._job)

    def __exit__(self, *raised: object) -> None:
        del _running[self._outer :]
