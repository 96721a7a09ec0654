"""What tasks print: lines in the log with their job and attempt, bounded, so that a flood costs nobody but its printer.

One pipe takes all that a child and its own children print. A job that was handed to an idle child prints from then on; one that
waited in the child's inbox begins with a mark, because only the child knows when its turn came.
"""

from __future__ import annotations

import re

from engine.logs import Log

MAX_BYTES = 64 << 10
MAX_LINES = 1_000
MAX_LINE_CHARS = 1_000
MARK = re.compile(rb"\0\x1e([0-9a-f]{24}):(\d+)\n")


def mark_of(job_id: str, attempt: int) -> bytes:
    """What is printed after this is this attempt's."""
    return b"\0\x1e%s:%d\n" % (job_id.encode(), attempt)


class Output:
    """What one child prints."""

    def __init__(self, log: Log, *, pid: int) -> None:
        self._log = log
        self._pid = pid
        self._printer: tuple[str, int] | None = None
        self._rest = b""
        self._bytes = self._lines = 0

    def begin(self, job_id: str, attempt: int) -> None:
        """What comes now is printed by this attempt, until it ends or a mark tells of another."""
        self._flush()
        self._printer = (job_id, attempt)
        self._bytes = self._lines = 0

    def end(self, job_id: str, attempt: int) -> None:
        """It prints no more, unless another has begun already."""
        if self._printer == (job_id, attempt):
            self._flush()
            self._printer = None
            self._bytes = self._lines = 0

    def close(self) -> None:
        """Nobody prints here any more."""
        self._flush()

    def take(self, data: bytes) -> None:
        """This was printed."""
        if b"\0\x1e" not in data:
            self._add(data)
            return
        before, *marked = MARK.split(data)
        self._add(before)
        for job_id, attempt, printed in zip(*[iter(marked)] * 3, strict=True):
            self.begin(job_id.decode(), int(attempt))
            self._add(printed)

    def _add(self, data: bytes) -> None:
        if not data or self._is_cut:
            return
        *lines, self._rest = (self._rest + data[: MAX_BYTES - self._bytes]).split(b"\n")
        self._bytes += len(data)
        for line in lines:
            self._write(line)
        if self._is_cut:
            self._flush()
            self._log.info("task_output_cut", **self._where(), after_bytes=MAX_BYTES, after_lines=MAX_LINES)

    @property
    def _is_cut(self) -> bool:
        return self._bytes >= MAX_BYTES or self._lines >= MAX_LINES

    def _flush(self) -> None:
        rest, self._rest = self._rest, b""
        self._write(rest)

    def _write(self, line: bytes) -> None:
        text = line[: 4 * MAX_LINE_CHARS].decode("utf-8", "replace").rstrip()[:MAX_LINE_CHARS]
        if text and self._lines < MAX_LINES:
            self._lines += 1
            self._log.info("task_output", **self._where(), text=text)

    def _where(self) -> dict[str, object]:
        """Between two jobs it is the child itself that prints, or a thread that a task left."""
        if self._printer is None:
            return {"executor": self._pid}
        job_id, attempt = self._printer
        return {"job_id": job_id, "attempt": attempt}
