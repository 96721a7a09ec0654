"""What a worker and an executor say to each other, as an executor sees it; a worker's side is `worker.executor_codec`.

    worker ── Run, one packet each ──▶ executor ── Done, Progressed, framed on a stream ──▶ worker

A message is one line of JSON, and after it what is JSON already and is not decoded on the way: a job's payload, its result. On
the stream the length of both stands before it, four bytes, big end first. Standard library only.
"""

from __future__ import annotations

import json
import struct
from typing import NamedTuple

from jobyard.engine.executor.outcomes import SUCCESS, TaskOutcome

_LENGTH = struct.Struct(">I")
_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Run(NamedTuple):
    """Run one attempt. `is_behind`: others wait or run before it in the same child. `fire_at`: RFC 3339."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    timeout_s: float
    is_behind: bool
    fire_at: str | None
    payload: bytes


def read_run(packet: bytes) -> Run:
    """The worker's packet: the fields in their order as a JSON array, then the payload."""
    head, _, payload = packet.partition(b"\n")
    return Run._make((*json.loads(head), payload))


def done(run: Run, outcome: TaskOutcome, *, elapsed_s: float, is_spent: bool) -> bytes:
    """How the attempt ended, and how long it ran, in seconds. `is_spent`: this child exits now, so that no other job finds
    what this one changed. What is left out has its default. A success is written without an encoder, which costs more than the
    rest of a short job.
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
    """The task says how far it is (0 to 1) and, in words, where."""
    return _framed({"kind": "progressed", "job_id": job_id, "attempt": attempt, "fraction": fraction, "note": note}, b"")


def _framed(told: dict[str, object], rest: bytes) -> bytes:
    return _joined(_to_json(told).encode(), rest)


def _joined(head: bytes, rest: bytes) -> bytes:
    return b"".join((_LENGTH.pack(len(head) + 1 + len(rest)), head, b"\n", rest))
