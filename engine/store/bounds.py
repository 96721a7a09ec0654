"""Limits on how much is read at once, chosen so that the result fits into one message in any encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from jobyard.engine.jobs.job import Execution, Job, Output

R = TypeVar("R", bound=tuple[Job, list[Execution], list[Output]])

EXECUTIONS_BYTES = 4 << 20
"""As JSON up to six times as much, since some characters take six."""
OUTPUTS_BYTES = 1 << 20
ROW_BYTES = 512
UNBOUNDED = 1 << 62
LOOK = 10_000
"""Jobs examined for one page of a list when an index alone cannot decide which match; takes some tens of milliseconds."""
LOOK_BYTES = 4 << 20
"""Bytes of payloads and errors searched for one page."""
PAGE_BYTES = 2 << 20
"""Bytes of payloads, results and errors in one page of a list, unless its only job has more."""
COUNT_LOOK = 100_000
AHEAD_LOOK = 10_000
FAILURES_LOOK = 100_000
MOST_FAILURES = 100
SQLITE_CURSOR = r"^-?[0-9]{1,18}-[0-9]{1,18}$"
MONGO_CURSOR = (
    r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}-[0-9a-f]{24}$"
)
"""What a cursor of each database looks like, for the description of the interface."""


def latest_within(latest_first: Iterable[Execution], max_bytes: int) -> list[Execution]:
    """The latest executions, oldest first; stops after the first that exceeds `max_bytes`."""
    taken: list[Execution] = []
    size = 0
    for execution in latest_first:
        taken.append(execution)
        size += _row_bytes(execution)
        if size > max_bytes:
            break
    return sorted(taken, key=lambda execution: execution.attempt)


def latest_outputs(latest_first: Iterable[Output], max_bytes: int) -> list[Output]:
    """The same for attempts' outputs."""
    taken: list[Output] = []
    size = 0
    for output in latest_first:
        taken.append(output)
        size += len(output.text.encode())
        if size > max_bytes:
            break
    return taken[::-1]


def shown_bytes(job: Job) -> int:
    """The bytes of a job in a list that can be many; all else in it is small."""
    return len(job.payload) + len(job.result or b"") + len((job.error or "").encode())


def first_records(found: Iterable[tuple[R, str]], limit: int, max_bytes: int) -> tuple[list[R], str | None]:
    """At most `limit` records, stopping after the first that exceeds `max_bytes`; and the position after them, None at the end."""
    records: list[R] = []
    size = 0
    for record, place in found:
        records.append(record)
        size += record_bytes(*record)
        if len(records) == limit or size > max_bytes:
            return records, place
    return records, None


def record_bytes(job: Job, executions: Sequence[Execution], outputs: Sequence[Output]) -> int:
    """The size of a job with everything that is stored about it."""
    own = ROW_BYTES + len(job.payload) + len(job.result or b"") + len(job.error or "")
    return own + sum(map(_row_bytes, executions)) + sum(ROW_BYTES + len(output.text.encode()) for output in outputs)


def _row_bytes(execution: Execution) -> int:
    return ROW_BYTES + sum(len(text.encode()) for text in (execution.error_message, execution.traceback) if text)
