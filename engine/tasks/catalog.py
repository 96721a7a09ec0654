"""The task catalog of a data folder: a file that is written when the task modules were imported, and read by schedulers.

With it a scheduler rejects unknown tasks and knows a task's defaults without importing the user's modules.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import msgspec

from jobyard.engine.jobs.submission import TaskDefaults
from jobyard.engine.jobs.unique_field import Asked
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.run_dir import RunDir

FILE = "tasks.json"


def write_catalog(run_dir: RunDir, options: Mapping[str, TaskOptions]) -> None:
    """Replace the file atomically."""
    path = run_dir.path / FILE
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(options))
    fresh.replace(path)


def read_catalog(text: bytes) -> Mapping[str, TaskOptions]:
    """Decode the `Catalog.text` of another host."""
    return msgspec.json.decode(text, type=dict[str, TaskOptions])


def read_declared(rows: Iterable[tuple[str, int, bytes]]) -> dict[str, TaskOptions]:
    """The options of the tasks in `Store.http_tasks`, by name."""
    return {name: TaskOptions(**msgspec.json.decode(body)) for name, _, body in rows}


def defaults_of(options: Mapping[str, TaskOptions]) -> Mapping[str, TaskDefaults]:
    """What a submission needs of each task."""
    return {
        name: TaskDefaults(
            max_retries=one.max_retries, timeout_s=one.timeout_s, queue=one.queue, priority=one.priority, expires_s=one.expires_s,
            unique=None if one.unique is None else Asked(**one.unique), limit=None if one.limit is None else tuple(one.limit),
            tags=one.tags,
        )
        for name, one in options.items()
    }  # fmt: skip


class Catalog:
    """The catalog; the file is read again after it was replaced."""

    def __init__(self, run_dir: RunDir) -> None:
        self._path = run_dir.path / FILE
        self._read: tuple[int, int] | None = None
        self._options: Mapping[str, TaskOptions] = {}

    def text(self) -> bytes:
        """The catalog as JSON, for other hosts."""
        return msgspec.json.encode(self.options())

    def options(self) -> Mapping[str, TaskOptions]:
        """The options of every known task, by name; empty if no worker has ever been started on this data folder."""
        try:
            found = self._path.stat()
            if self._read != (found.st_mtime_ns, found.st_ino):
                self._options = msgspec.json.decode(self._path.read_bytes(), type=dict[str, TaskOptions])
                self._read = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            self._options = {}
        return self._options
