"""A leased job as an HTTP worker receives it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jobyard.engine.jobs.job import Job
from jobyard.engine.leases.rules import deadline
from jobyard.engine.timestamps import rfc3339


def to_json(job: Job, *, lease_s: float, results: Mapping[str, object] | None) -> bytes:
    """The job with its token, the payload byte for byte. `results`: those of the jobs that it waited for, by ref or id."""
    return _encode(
        {
            "job_id": job.job_id, "epoch": job.epoch, "attempt": job.attempt, "task": job.task, "queue": job.queue,
            "payload": msgspec.Raw(job.payload), "lease_s": seconds(min(lease_s, job.timeout_s)),
            "deadline_at": rfc3339(deadline(job)), "retry_count": job.retry_count, "results": results, "tags": job.tags,
            "schedule": job.schedule, "fire_at": rfc3339(job.fire_at), "traceparent": job.traceparent,
            "tracestate": job.tracestate,
        }
    )  # fmt: skip


def seconds(number: float) -> float:
    """Whole seconds without a fraction."""
    return int(number) if number == int(number) else round(number, 3)


_encode = msgspec.json.Encoder().encode
