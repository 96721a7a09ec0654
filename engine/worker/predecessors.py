"""What a worker tells an executor of the jobs that its job waited for, as JSON text, for the few jobs that waited for any:

    {"job_ids": {ref or id: id}, "results": {id: JSON text} or null, "url": …, "token": …}

Results that are larger together than `MAX_BYTES`, or cannot be read now, are null: the task then fetches them from the service.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Job
from jobyard.engine.store.port import Store

MAX_BYTES = 4 << 20


class PredecessorReader:
    """One worker's. `service`: the URL and the token with which a task reaches the service."""

    def __init__(self, store: Store, *, service: tuple[str, str | None]) -> None:
        self._store = store
        self._url, self._token = service

    def told(self, jobs: Sequence[Job]) -> dict[str, str]:
        """The texts of those of the jobs that are in a workflow, by id."""
        return {job.job_id: self._text(job) for job in jobs if job.after is not None or job.group is not None}

    def _text(self, job: Job) -> str:
        job_ids = {one.ref or one.job_id: one.job_id for one in job.after or () if one.job_id is not None}
        told = {"job_ids": job_ids, "results": self._results(list(job_ids.values())), "url": self._url, "token": self._token}
        return msgspec.json.encode(told).decode()

    def _results(self, job_ids: list[str]) -> dict[str, str] | None:
        try:
            found = self._store.workflows.results(job_ids, max_bytes=MAX_BYTES)
        except StoreUnavailable:
            return None
        return None if found is None else {job_id: result.decode() for job_id, result in found.items()}
