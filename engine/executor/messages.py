"""The messages between a worker and an executor, executor side; the worker side is `worker.executor_codec`.

    worker ── Run, one packet each ──▶ executor ── Done, Progressed, Held, framed on a stream ──▶ worker

A message is one line of JSON, followed by data that is already JSON and is not decoded on the way: a job's payload or result. On
the stream each message is preceded by its total length as a four-byte big-endian integer. Standard library only.
"""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

from jobyard.engine.executor.outcomes import SUCCESS, TaskOutcome

_LENGTH = struct.Struct(">I")
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().decode


class Run(NamedTuple):
    """Run one attempt. `is_behind`: other attempts run or wait before it in the same child. `fire_at`: RFC 3339.

    `has_limit`: whether the job names a limit; `waited_for`: see `worker.predecessors`.
    """

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    timeout_s: float
    is_behind: bool
    fire_at: str | None
    has_limit: bool
    waited_for: str | None
    payload: bytes


def read_run(packet: bytes) -> Run:
    """Decode a packet: the fields in order as a JSON array, then the payload."""
    head, _, payload = packet.partition(b"\n")
    return Run._make((*_from_json(head.decode()), payload))


def done(run: Run, outcome: TaskOutcome, *, elapsed_s: float, is_spent: bool) -> bytes:
    """Encode the outcome of an attempt and its duration in seconds. `is_spent`: this child exits now, so that no other job sees
    what this one changed. Omitted fields have their defaults. A success is formatted without the JSON encoder, which would cost
    more than the rest of a short job.
    """
    if outcome.status == SUCCESS and not is_spent:
        attempt = f'{{"kind":"done","job_id":"{run.job_id}","attempt":{run.attempt},"elapsed_s":{elapsed_s!r},"status":"success"}}'
        return _joined(attempt.encode(), outcome.result or b"")
    ended = {
        "kind": "done", "job_id": run.job_id, "attempt": run.attempt, "elapsed_s": elapsed_s, "is_spent": is_spent,
        "status": outcome.status, "error": outcome.error, "traceback": outcome.traceback,
        "retry_delay_s": outcome.retry_delay_s, "unrecoverable": outcome.unrecoverable,
    }  # fmt: skip
    return _framed(ended, outcome.result or b"")


def progressed(job_id: str, attempt: int, fraction: float, note: str) -> bytes:
    """Encode the progress of a task: a fraction from 0 to 1 and a note."""
    return _framed({"kind": "progressed", "job_id": job_id, "attempt": attempt, "fraction": fraction, "note": note}, b"")


def held(job_id: str, attempt: int, for_s: float) -> bytes:
    """Encode that no job under this job's limits may begin for so long."""
    return _framed({"kind": "held", "job_id": job_id, "attempt": attempt, "for_s": for_s}, b"")


def _framed(fields: dict[str, object], rest: bytes) -> bytes:
    return _joined(_to_json(fields).encode(), rest)


def _joined(head: bytes, rest: bytes) -> bytes:
    return b"".join((_LENGTH.pack(len(head) + 1 + len(rest)), head, b"\n", rest))
