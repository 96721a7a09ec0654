"""Tells the workers that run cancelled jobs: each checks at once for all jobs that it must end."""

from __future__ import annotations

from collections.abc import Sequence

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.owners import http_worker, parse_owner
from jobyard.engine.wire.hub import Network
from jobyard.engine.wire.messages import CancelAsked


def tell_cancelled(network: Network, pairs: Sequence[tuple[Job, Job]]) -> None:
    """Hint at each job's cancellation. `pairs`: the jobs before and after it."""
    told: set[str] = set()
    for before, job in pairs:
        if http_worker(before.locked_by) is not None:  # it is told when it extends its lease
            continue
        if before.status is Status.RUNNING and before.locked_by and before.locked_by not in told:
            told.add(before.locked_by)
            network.hint(parse_owner(before.locked_by).process, CancelAsked(job_id=job.job_id, epoch=job.epoch))
