"""What tasks print: lines in the log with their job and attempt, bounded, and the end of it kept for whoever asks later.

One pipe takes all that a child and its own children print. A job that was handed to an idle child prints from then on; one that
waited in the child's inbox begins with a mark, because only the child knows when its turn came. A mark counts only for an
attempt that the child was handed and that has not begun to print; any other is something that a task printed.

    handed to an idle child ── begin ─┐
    a mark for one that is awaited ───┴─▶ prints ── taken (its end is known) ──▶ Output, kept with its execution
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
"""A job's id and the number of an attempt at it."""


class OutputReader:
    """What one child prints."""

    def __init__(self, log: Log, *, pid: Callable[[], int], awaits: Callable[[Printer], bool]) -> None:
        """`awaits`: whether the child was handed this attempt and has not ended it."""
        self._log = log
        self._pid = pid
        self._awaits = awaits
        self._printer: Printer | None = None
        self._rest = b""
        self._bytes = self._lines = 0
        self._tails: dict[Printer, Tail] = {}

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
        start = 0
        for mark in MARK.finditer(data):
            printer = (mark[1].decode(), int(mark[2]))
            if printer != self._printer and printer not in self._tails and self._awaits(printer):
                self._add(data[start : mark.start()])
                self.begin(*printer)
                start = mark.end()
        self._add(data[start:])

    def so_far(self, job_id: str, attempt: int, progress: Progress | None) -> Output | None:
        """What is kept of this attempt's output now; None when that is nothing."""
        tail = self._tails.get((job_id, attempt))
        if tail is None:
            return Output(job_id=job_id, attempt=attempt, progress=progress) if progress is not None else None
        return Output(job_id=job_id, attempt=attempt, text=tail.text(), is_cut=tail.is_cut, progress=progress)

    def taken(self, job_id: str, attempt: int, progress: Progress | None) -> Output | None:
        """The same at its end; it is the caller's from now on."""
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
        """Between two jobs it is the child itself that prints, or a thread that a task left."""
        if self._printer is None:
            return {"executor": self._pid()}
        job_id, attempt = self._printer
        return {"job_id": job_id, "attempt": attempt}


class Tail:
    """The end of a stream of bytes."""

    def __init__(self) -> None:
        self._end = bytearray()
        self.is_cut = False

    def add(self, data: bytes) -> None:
        """More came."""
        self._end += data
        if len(self._end) > KEPT_BYTES:
            del self._end[:-KEPT_BYTES]
            self.is_cut = True

    def text(self) -> str:
        """As text that has at most `KEPT_BYTES` in UTF-8; it begins with a whole character."""
        data = self._end.lstrip(CONTINUATIONS) if self.is_cut else self._end
        text = data.decode("utf-8", "replace")
        encoded = text.encode()
        if len(encoded) <= KEPT_BYTES:
            return text
        self.is_cut = True
        return encoded[-KEPT_BYTES:].lstrip(CONTINUATIONS).decode()


CONTINUATIONS = bytes(range(0x80, 0xC0))
"""Bytes that begin no character."""
