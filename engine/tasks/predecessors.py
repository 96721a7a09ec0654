"""What a running job can read of the jobs that it waited for: `current_job().results` and `.group_results(name)`.

Small results come with the job, as text that is decoded when they are read; large ones, and those of groups, are fetched when they
are read. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol


class GroupResult(NamedTuple):
    """One member of a group; `result` is None unless it completed."""

    job_id: str
    status: str
    result: Any


class Source(Protocol):
    """Where results are fetched from."""

    def result(self, job_id: str) -> Any:
        """The result of a job; None if it did not complete, or is no longer stored."""

    def group(self, name: str) -> Iterator[GroupResult]:
        """The members of a group, in order of creation."""


class Results(Mapping[str, Any]):
    """The results of a job's predecessors by ref, or by id where they have none."""

    def __init__(self, job_ids: Mapping[str, str], read: Callable[[str], Any]) -> None:
        """`job_ids`: by the names under which they are read."""
        self._job_ids = job_ids
        self._read = read
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._read(self._job_ids[name])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._job_ids)

    def __len__(self) -> int:
        return len(self._job_ids)

    def __repr__(self) -> str:
        return f"<results of {', '.join(self._job_ids) or 'nobody'}>"


class Predecessors:
    """Of one running job. `job_ids`: of the jobs that it waited for, by ref or id."""

    def __init__(self, job_ids: Mapping[str, str], source: Source, *, texts: Mapping[str, str] | None = None) -> None:
        """`texts`: their results as JSON text by id, where they came with the job; others are null then."""
        self._source = source
        self._texts = texts
        self.results = Results(job_ids, self._read)

    def group_results(self, name: str) -> Iterator[GroupResult]:
        """The members of a group, in order of creation."""
        return self._source.group(name)

    def _read(self, job_id: str) -> Any:
        if self._texts is None:
            return self._source.result(job_id)
        text = self._texts.get(job_id)
        return None if text is None else json.loads(text)
