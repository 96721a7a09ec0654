"""Events to text or JSON, one a line, on stdout. An event is a past-tense name and fields.

A line is written with one call and only when the reader has room for it, so that a pipe nobody reads cannot stop a
process; what had no room is counted and told later. Control characters are escaped: no payload can forge a line.
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


class LogLevel:
    """The least level that is written, in memory that forks share: set in one process, it holds in all of a start."""

    def __init__(self, name: str = "info") -> None:
        self._page = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
        self.set(name)

    @property
    def name(self) -> str:
        """One of `LEVELS`."""
        return LEVELS[self._page[0]]

    @property
    def number(self) -> int:
        """Its place among them."""
        return self._page[0]

    def set(self, name: str) -> None:
        """From the next event on."""
        self._page[0] = LEVELS.index(name)


class Log:
    """Writes events of its level and above."""

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
        """Whether `debug` writes anything; for whoever would have to gather what to tell."""
        return self.level.number == 0

    def named(self, process: str) -> Log:
        """The same log for another process."""
        return Log(self._world, level=self.level, form=self._form, process=process, fd=self._fd)

    def debug(self, event: str, **fields: object) -> None:
        """One line a transition."""
        self._write(0, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What an operator follows."""
        self._write(1, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Someone should look."""
        self._write(2, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """We are at fault."""
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
        except OSError:  # the reader is gone: there is nobody to tell
            self.dropped += 1

    def _fitting(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        """The line, its values cut as short as needed, so that what is cut is still a line of its form."""
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
    """What JSON has a word for, as it is; of everything else its words, at most so many characters."""
    if isinstance(value, int | None) or (isinstance(value, float) and isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= limit else text[:limit] + "..."


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and text and " " not in text and '"' not in text else json.dumps(text)
