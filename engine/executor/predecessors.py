"""Reads what a worker has told of the jobs that a job waited for, when the task asks for it; see `worker.predecessors`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

from jobyard.engine.tasks.predecessors import GroupResult, Predecessors, Source


def predecessors_in(told: str) -> Predecessors:
    """What the text says."""
    known = json.loads(told)
    return Predecessors(known["job_ids"], _Fetched(known["url"], known["token"]), texts=known["results"])


class _Fetched:
    """See `Source`. The HTTP client is loaded only for a task that reads what did not come with its job."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token

    def result(self, job_id: str) -> Any:
        """See `Source`."""
        return self._fetcher().result(job_id)

    def group(self, name: str) -> Iterator[GroupResult]:
        """See `Source`."""
        return self._fetcher().group(name)

    def _fetcher(self) -> Source:
        fetcher: Source = importlib.import_module("jobyard.engine.tasks.result_fetcher").ResultFetcher(self._url, self._token)
        return fetcher
