"""What a store tells operators of many jobs at once: what fails, and what waits. Part of `Store`; all of it is bounded."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from jobyard.engine.store.bounds import AHEAD_LOOK, FAILURES_LOOK, MOST_FAILURES


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """The failed jobs of one task with one kind of error; if not `is_exact`, there are at least that many, and older ones."""

    task: str
    error_kind: str
    count: int
    first_at: datetime
    last_at: datetime
    example_job_id: str
    is_exact: bool = True


class DueJobs(msgspec.Struct, frozen=True, kw_only=True):
    """The due jobs of one task and queue; if not `is_exact`, there are at least that many. `oldest_at`: since when one is due."""

    task: str
    queue: str
    count: int
    oldest_at: datetime
    is_exact: bool = True


class ReportStore(Protocol):
    """The questions."""

    def failures(
        self, *, since: datetime | None = None, look: int = FAILURES_LOOK, limit: int = MOST_FAILURES
    ) -> list[Failures]:  # fmt: skip
        """The failed jobs by task and kind of error, the most frequent first; of those that failed at `since` or later.

        At most `look` of them are counted, the newest; `limit`: the number of groups.
        """

    def due_by_task(self, *, now: datetime, look: int = AHEAD_LOOK) -> list[DueJobs]:
        """The due jobs by task and queue, also those that a limit holds; about `look` of each task and priority are examined."""
