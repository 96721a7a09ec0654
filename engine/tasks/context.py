"""The API of a running task: its job, and the exceptions by which it can end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobyard.engine.tasks.predecessors import GroupResult, Predecessors

MAX_NOTE_CHARS = 200
MAX_HOLD_S = 86_400


class Retry(Exception):
    """Retry the job after `delay_s` seconds, or after the usual delay. It counts as a retry."""

    def __init__(self, message: str = "the task asked to be tried again", *, delay_s: float | None = None) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Unrecoverable(Exception):
    """Retrying is pointless: the job fails at once."""


class Interrupted(BaseException):
    """The attempt must end now. Not an `Exception`, so that `except Exception` in a task does not swallow it."""


class JobTimeout(Interrupted):
    """The attempt exceeded its timeout."""


class JobCancelled(Interrupted):
    """The job was cancelled."""


class JobReleased(Interrupted):
    """The system is stopping; the job is released and runs again elsewhere or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentJob:
    """The job that is being executed. `deadline`: when its timeout expires; `fire_at`: which fire of a schedule it is."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    deadline: datetime
    report: Callable[[CurrentJob, float, str], None] = field(repr=False)
    fire_at: datetime | None = None
    hold_limits: Callable[[CurrentJob, float], None] | None = field(default=None, repr=False)
    """None where the job names no limit."""
    waited_for: Callable[[], Predecessors] | None = field(default=None, repr=False)

    def hold(self, for_s: float) -> None:
        """Let no job under this job's own limits begin for so many seconds, in their partitions: after a 429, for example.

        Raises `RuntimeError` where the job has none.
        """
        if not isinstance(for_s, int | float) or isinstance(for_s, bool) or not 0 < for_s <= MAX_HOLD_S:
            raise ValueError(f"hold takes a number of seconds above 0, at most {MAX_HOLD_S}, not {for_s!r}")
        if self.hold_limits is None:
            raise RuntimeError(f"job {self.job_id} has no limit of its own to hold: submit it with limit=..., or give its task one")
        self.hold_limits(self, float(for_s))

    @property
    def results(self) -> Mapping[str, Any]:
        """The results of the jobs that this one waited for, by ref or else by id; None for one that did not complete."""
        return {} if self.waited_for is None else self.waited_for().results

    def group_results(self, name: str) -> Iterator[GroupResult]:
        """The members of a group in order of creation: job_id, status, and the result of those that completed."""
        if self.waited_for is None:
            raise RuntimeError("group_results needs the service: it works only in a job that a worker or the test fixture runs")
        return self.waited_for().group_results(name)

    def progress(self, fraction: float, note: str = "") -> None:
        """Report progress: a fraction from 0 to 1, and a note. It is recorded a few times a second at most."""
        text = str(note)[:MAX_NOTE_CHARS].encode("utf-8", "replace").decode().replace("\0", "\\0")[:MAX_NOTE_CHARS]
        self.report(self, min(1.0, max(0.0, float(fraction))), text)


_running: list[CurrentJob | Callable[[], CurrentJob]] = []


def current_job() -> CurrentJob:
    """The job whose task is calling; raises `RuntimeError` outside of a task."""
    if not _running:
        raise RuntimeError("current_job() works only inside a task that a worker is executing")
    job = _running[-1]
    if not isinstance(job, CurrentJob):
        job = _running[-1] = job()
    return job


class executing:
    """A context manager that sets the current job, and restores the previous one, as when a task runs another task inline.

    It may be given as a function that makes it, which is called for the first `current_job()` only: most tasks never ask.
    """

    __slots__ = ("_job", "_outer")

    def __init__(self, job: CurrentJob | Callable[[], CurrentJob]) -> None:
        self._job = job

    def __enter__(self) -> None:
        self._outer = len(_running)
        _running.append(self._job)

    def __exit__(self, *raised: object) -> None:
        del _running[self._outer :]
