"""Writes events to stdout as text or JSON, one per line. An event is a past-tense name with fields.

Each line is written with one call, and only when the pipe has room for it, so a reader that has stopped cannot block the
process. Dropped lines are counted and reported later. Control characters are escaped, so a payload cannot forge a line.
"""

from __future__ import annotations

import json
import mmap
import os
import select
from math import isfinite

from jobyard.engine.timestamps import rfc3339
from jobyard.engine.world import World

LEVELS = ("debug", "info", "warning", "error")
MAX_LINE_BYTES = 4096


def write_line(text: str, *, fd: int = 1) -> bool:
    """Write a line with one call; False if the descriptor takes none: the pipe is full or its reader gone, the disk is full."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        return bool(poll.poll(0)) and os.write(fd, f"{text}\n".encode("utf-8", "backslashreplace")) > 0
    except OSError:
        return False


class LogLevel:
    """The lowest level that is written, in memory shared across forks: setting it in one process applies to the whole instance."""

    def __init__(self, name: str = "info") -> None:
        self._page = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
        self.set(name)

    @property
    def name(self) -> str:
        """The name of the level, one of `LEVELS`."""
        return LEVELS[self._page[0]]

    @property
    def number(self) -> int:
        """The index of the level in `LEVELS`."""
        return self._page[0]

    def set(self, name: str) -> None:
        """Set the level; it applies from the next event on."""
        self._page[0] = LEVELS.index(name)


class Log:
    """Writes events at or above its level."""

    def __init__(
        self, world: World, *, level: str | LogLevel = "info", form: str = "text", process: str = "", fd: int = 1
    ) -> None:  # fmt: skip
        self._world = world
        self.level = level if isinstance(level, LogLevel) else LogLevel(level)
        self._form = form
        self._process = process
        self._fd = fd
        self.dropped = 0

    @property
    def is_debug(self) -> bool:
        """Whether debug events are written; lets callers skip gathering expensive fields."""
        return self.level.number == 0

    def named(self, process: str) -> Log:
        """The same log under another process name."""
        return Log(self._world, level=self.level, form=self._form, process=process, fd=self._fd)

    def debug(self, event: str, **fields: object) -> None:
        """A state transition; one line each."""
        self._write(0, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """An event that an operator follows."""
        self._write(1, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """An event that someone should look into."""
        self._write(2, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """A fault of Jobyard's own."""
        self._write(3, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if level < self.level.number:
            return
        if self.dropped:
            fields = fields | {"lines_dropped_before": self.dropped}
        data = self._fitting(LEVELS[level], event, fields)
        if not self._has_room():
            self.dropped += 1
            return
        try:
            os.write(self._fd, data + b"\n")
            self.dropped = 0
        except OSError:  # the reader has closed the pipe: there is nowhere left to write
            self.dropped += 1

    def _fitting(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        """The line, with its values shortened until it fits, so that a shortened line is still valid text or JSON."""
        form = self._as_json if self._form == "json" else self._as_text
        limit = MAX_LINE_BYTES
        while True:
            data = form(level, event, {name: _cut(value, limit) for name, value in fields.items()}).encode()
            if len(data) < MAX_LINE_BYTES or not limit:
                return data[: MAX_LINE_BYTES - 1]
            limit //= 2

    def _has_room(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))

    def _as_json(self, level: str, event: str, fields: dict[str, object]) -> str:
        head = {"at": rfc3339(self._world.now()), "level": level, "process": self._process, "event": event}
        return json.dumps(head | fields, separators=(",", ":"))

    def _as_text(self, level: str, event: str, fields: dict[str, object]) -> str:
        told = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        return f"{rfc3339(self._world.now())} {level:<7} {self._process:<14} {event} {told}".rstrip()


def _cut(value: object, limit: int) -> object:
    """Values that JSON can represent unchanged; the text of everything else. Text is cut to `limit` characters."""
    if isinstance(value, int | None) or (isinstance(value, float) and isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "..."


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and text and " " not in text and '"' not in text else json.dumps(text)
