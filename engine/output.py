"""What tasks print: lines in the log with their job and attempt, bounded, so that a flood costs nobody but its printer."""

from __future__ import annotations

from engine.logs import Log
from engine.slot import MAX_OUTPUT_BYTES, Attempt

MAX_LINE_CHARS = 1_000


class OutputLog:
    """Splits into lines; the rest of a line waits for its end."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rests: dict[Attempt, bytes] = {}

    def tell(self, attempt: Attempt, data: bytes) -> None:
        """These bytes were printed while the attempt ran."""
        before = attempt.output_bytes
        attempt.output_bytes += len(data)
        if before >= MAX_OUTPUT_BYTES:
            return
        *lines, rest = (self._rests.pop(attempt, b"") + data[: MAX_OUTPUT_BYTES - before]).split(b"\n")
        for line in lines:
            self._write(attempt, line)
        if attempt.output_bytes >= MAX_OUTPUT_BYTES:
            self._write(attempt, rest)
            self._log.info("task_output_cut", job_id=attempt.job.job_id, attempt=attempt.job.attempt, after_bytes=MAX_OUTPUT_BYTES)
        elif rest:
            self._rests[attempt] = rest

    def end(self, attempt: Attempt) -> None:
        """Nothing more comes."""
        rest = self._rests.pop(attempt, b"")
        if rest:
            self._write(attempt, rest)

    def _write(self, attempt: Attempt, line: bytes) -> None:
        text = line[:MAX_LINE_CHARS].decode("utf-8", "replace").rstrip()
        if text:
            self._log.info("task_output", job_id=attempt.job.job_id, attempt=attempt.job.attempt, text=text)
