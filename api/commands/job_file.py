"""A file of jobs, one JSON object per line. It is checked as a whole before the first job is submitted.

A line is checked as the service checks it. Blank lines and a byte order mark are skipped. The digest covers the jobs and not the
blank lines, so it names the same jobs again when the file is submitted again.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import sys
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import click

from jobyard.engine.errors import InvalidRequest, JobyardError
from jobyard.engine.jobs.submission import Defaults, TaskDefaults, parse
from jobyard.engine.words import counted
from jobyard.engine.world import World

DIGEST_CHARS = 32
MAX_SHOWN = 10
ANY_ID = "0" * 24
FIRST = "jobs[0]: "


class JobFile:
    """An open file of jobs. `line_numbers`: the line of each job, counted from 1 as editors do; filled by `check`.

    `has_refs`: its jobs name one another.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines = _seekable(name)
        self.line_numbers = array("L")
        self.digest = ""
        self.has_refs = False

    def __enter__(self) -> JobFile:
        return self

    def __exit__(self, *raised: object) -> None:
        self._lines.close()

    def check(self, tasks: Mapping[str, TaskDefaults]) -> None:
        """Read every line; raises `InvalidRequest`, which names the lines that are wrong."""
        defaults = Defaults(max_retries=0, timeout_s=1, tasks=tasks)
        world = World()
        digest = hashlib.sha256()
        known_keys: dict[str, int] = {}
        wrong: list[str] = []
        for number, text in self._texts():
            digest.update(text)
            self.line_numbers.append(number)
            try:
                (job,) = parse("ndjson", text, first_id=ANY_ID, idempotency_key=None, now=world.now(), defaults=defaults)
            except JobyardError as fault:
                wrong.append(f"line {number}: {fault.message.removeprefix(FIRST)}")
                continue
            self.has_refs = self.has_refs or job.ref is not None
            if job.idempotency_key is not None:
                first = known_keys.setdefault(job.idempotency_key, number)
                if first != number:
                    wrong.append(f"line {number}: idempotency_key is the same as in line {first}")
        if wrong:
            raise InvalidRequest("invalid_file", _summary(wrong, len(self.line_numbers)))
        self.digest = digest.hexdigest()[:DIGEST_CHARS]

    def jobs(self) -> Iterator[dict[str, Any]]:
        """The jobs of a file that has been checked."""
        return (json.loads(text) for _, text in self._texts())

    def _texts(self) -> Iterator[tuple[int, bytes]]:
        """The lines that hold something, with their numbers."""
        self._lines.seek(0)
        for number, line in enumerate(self._lines, 1):
            text = line.removeprefix(codecs.BOM_UTF8).strip() if number == 1 else line.strip()
            if text:
                yield number, text


def _summary(wrong: list[str], count: int) -> str:
    shown = "\n  ".join(wrong[:MAX_SHOWN])
    more = f"\n  and {len(wrong) - MAX_SHOWN} more" if len(wrong) > MAX_SHOWN else ""
    no_jobs = "is no valid job" if len(wrong) == 1 else "are no valid jobs"
    return f"nothing was submitted: {len(wrong)} of {counted(count, 'line')} {no_jobs}\n  {shown}{more}"


def _seekable(name: str) -> IO[bytes]:
    """The file, which is read twice; stdin is copied first."""
    if name == "-":
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        while block := sys.stdin.buffer.read(1 << 20):
            copy.write(block)
        return copy
    try:
        return Path(name).open("rb")
    except OSError as wrong:
        raise click.UsageError(f"{name} cannot be read: {wrong.strerror}") from None
