"""What a worker and an executor say to each other, as an executor sees it; a worker's side is `worker.executor_codec`.

    worker ── Run, one packet each ──▶ executor ── Done, Progressed, framed on a stream ──▶ worker

A message is one line of JSON, and after it what is JSON already and is not decoded on the way: a job's payload, its result. On
the stream the length of both stands before it, four bytes, big end first. Standard library only.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from jobyard.engine.executor.outcomes import TaskOutcome

_LENGTH = struct.Struct(">I")
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run one attempt. `is_behind`: others wait or run before it in the same child."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    timeout_s: float
    is_behind: bool
    payload: bytes


def read_run(packet: bytes) -> Run:
    """What the worker's packet says."""
    head, _, payload = packet.partition(b"\n")
    return Run(**json.loads(head), payload=payload)


def done(run: Run, outcome: TaskOutcome, *, elapsed_s: float, is_spent: bool) -> bytes:
    """How the attempt ended, and how long it ran, in seconds. `is_spent`: this child leaves now, so that no other job finds
    what this one changed."""
    told = {
        "kind": "done", "job_id": run.job_id, "attempt": run.attempt, "elapsed_s": elapsed_s, "is_spent": is_spent,
        "status": outcome.status, "error": outcome.error, "traceback": outcome.traceback,
        "retry_delay_s": outcome.retry_delay_s, "unrecoverable": outcome.unrecoverable, "has_result": outcome.result is not None,
    }  # fmt: skip
    return _framed(told, outcome.result or b"")


def progressed(job_id: str, attempt: int, fraction: float, note: str) -> bytes:
    """The task says how far it is (0 to 1) and, in words, where."""
    return _framed({"kind": "progressed", "job_id": job_id, "attempt": attempt, "fraction": fraction, "note": note}, b"")


def _framed(told: dict[str, object], rest: bytes) -> bytes:
    head = _to_json(told).encode()
    return b"".join((_LENGTH.pack(len(head) + 1 + len(rest)), head, b"\n", rest))
