"""What tasks print: lines in the log with their job and attempt, bounded, and the last part of it kept to be read later.

One pipe receives everything that an executor and its child processes print. A job that was sent to an idle executor prints from
then on; one that waited in the inbox begins with a mark, because only the executor knows when it started. A mark counts only for an
attempt that the executor was sent and that has not begun to print; any other is text that a task printed.

    sent to an idle executor ─ begin ─┐
    a mark for one that is awaited ───┴─▶ prints ── taken (its end is known) ──▶ Output, stored with its execution
"""

from __future__ import annotations

import re
from collections.abc import Callable

from jobyard.engine.jobs.job import Output, Progress
from jobyard.engine.logs import Log

MAX_BYTES = 64 << 10
MAX_LINES = 1_000
MAX_LINE_CHARS = 1_000
KEPT_BYTES = 64 << 10
MARK = re.compile(rb"\0\x1e([0-9a-f]{24}):([0-9]{1,9})\n")

Printer = tuple[str, int]
"""The job_id and attempt number of an attempt."""


class OutputReader:
    """Reads what one executor prints."""

    def __init__(self, log: Log, *, pid: Callable[[], int], awaits: Callable[[Printer], bool]) -> None:
        """`awaits`: whether the executor was sent this attempt and has not finished it."""
        self._log = log
        self._pid = pid
        self._awaits = awaits
        self._printer: Printer | None = None
        self._rest = b""
        self._bytes = self._lines = 0
        self._tails: dict[Printer, Tail] = {}

    def begin(self, job_id: str, attempt: int) -> None:
        """What follows is printed by this attempt, until it ends or a mark names another."""
        self._flush()
        self._printer = (job_id, attempt)
        self._bytes = self._lines = 0

    def end(self, job_id: str, attempt: int) -> None:
        """The attempt prints nothing more; ignored if another has begun already."""
        if self._printer == (job_id, attempt):
            self._flush()
            self._printer = None
            self._bytes = self._lines = 0

    def close(self) -> None:
        """The executor has exited; log the last, incomplete line."""
        self._flush()

    def take(self, data: bytes) -> None:
        """These bytes were printed."""
        if b"\0\x1e" not in data:
            self._add(data)
            return
        start = 0
        for mark in MARK.finditer(data):
            printer = (mark[1].decode(), int(mark[2]))
            if printer != self._printer and printer not in self._tails and self._awaits(printer):
                self._add(data[start : mark.start()])
                self.begin(*printer)
                start = mark.end()
        self._add(data[start:])

    def so_far(self, job_id: str, attempt: int, progress: Progress | None) -> Output | None:
        """The output of this attempt that is kept so far; None if there is none."""
        tail = self._tails.get((job_id, attempt))
        if tail is None:
            return Output(job_id=job_id, attempt=attempt, progress=progress) if progress is not None else None
        return Output(job_id=job_id, attempt=attempt, text=tail.text(), is_cut=tail.is_cut, progress=progress)

    def taken(self, job_id: str, attempt: int, progress: Progress | None) -> Output | None:
        """Remove and return the output of an attempt that has ended."""
        output = self.so_far(job_id, attempt, progress)
        self._tails.pop((job_id, attempt), None)
        return output

    def _add(self, data: bytes) -> None:
        if not data:
            return
        if self._printer is not None:
            self._tails.setdefault(self._printer, Tail()).add(data)
        if self._is_cut:
            return
        *lines, self._rest = (self._rest + data[: MAX_BYTES - self._bytes]).split(b"\n")
        self._bytes += len(data)
        for handle in lines:
            self._write(handle)
        if self._is_cut:
            self._flush()
            self._log.info("task_output_cut", **self._where(), after_bytes=MAX_BYTES, after_lines=MAX_LINES)

    @property
    def _is_cut(self) -> bool:
        return self._bytes >= MAX_BYTES or self._lines >= MAX_LINES

    def _flush(self) -> None:
        rest, self._rest = self._rest, b""
        self._write(rest)

    def _write(self, handle: bytes) -> None:
        text = handle[: 4 * MAX_LINE_CHARS].decode("utf-8", "replace").rstrip()[:MAX_LINE_CHARS]
        if text and self._lines < MAX_LINES:
            self._lines += 1
            self._log.info("task_output", **self._where(), text=text)

    def _where(self) -> dict[str, object]:
        """Between two jobs the executor itself prints, or a thread that a task left behind."""
        if self._printer is None:
            return {"executor": self._pid()}
        job_id, attempt = self._printer
        return {"job_id": job_id, "attempt": attempt}


class Tail:
    """The last part of a stream of bytes."""

    def __init__(self) -> None:
        self._end = bytearray()
        self.is_cut = False

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self._end += data
        if len(self._end) > KEPT_BYTES:
            del self._end[:-KEPT_BYTES]
            self.is_cut = True

    def text(self) -> str:
        """The text, at most `KEPT_BYTES` in UTF-8, beginning with a whole character."""
        data = self._end.lstrip(CONTINUATIONS) if self.is_cut else self._end
        text = data.decode("utf-8", "replace")
        encoded = text.encode()
        if len(encoded) <= KEPT_BYTES:
            return text
        self.is_cut = True
        return encoded[-KEPT_BYTES:].lstrip(CONTINUATIONS).decode()


CONTINUATIONS = bytes(range(0x80, 0xC0))
"""UTF-8 continuation bytes."""
