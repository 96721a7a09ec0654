"""Returns jobs to `pending` that are queued in the store but that no queue holds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Status, Ticket
from jobyard.engine.store.port import Store

PAGE = 500


def hand_back(store: Store, tickets: Iterable[Ticket], *, now: datetime, max_lost: int) -> int:
    """T11 for tickets that no queue holds: their jobs become pending again. Returns how many.

    Jobs that have meanwhile been started, cancelled or claimed again are left unchanged.
    """
    epochs = {ticket.job_id: ticket.epoch for ticket in tickets}
    job_ids = list(epochs)
    handed_back = 0
    for start in range(0, len(job_ids), PAGE):
        jobs = [job for job in store.find(job_ids[start : start + PAGE], whole=False) if job is not None]
        waiting = [job for job in jobs if job.status is Status.QUEUED and job.epoch == epochs[job.job_id]]
        handed_back += sum(store.apply([lifecycle.recover(job, now=now, max_lost=max_lost) for job in waiting]))
    return handed_back
