"""The worker's side of `executor.messages`: encodes runs as packets, decodes the stream into `Done` and `Progressed`."""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import ExecutionStatus, Outcome
from jobyard.engine.wire.frames import Damaged
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Done, Held, Progressed, Run


class _Head(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The first line of a `Run`: its fields in order."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    timeout_s: float
    is_behind: bool
    fire_at: datetime | None
    has_limit: bool
    waited_for: str | None


class _Done(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="done"):
    job_id: str
    attempt: int
    elapsed_s: float
    status: ExecutionStatus
    is_spent: bool = False
    error: str | None = None
    traceback: str | None = None
    retry_delay_s: float | None = None
    unrecoverable: bool = False


class _Progressed(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="progressed"):
    job_id: str
    attempt: int
    fraction: float
    note: str


class _Held(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="held"):
    job_id: str
    attempt: int
    for_s: float


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Done | _Progressed | _Held)
_head_decoder = msgspec.json.Decoder(_Head)


def encode_run(run: Run) -> bytes:
    """One line of fields, then the payload as it is stored."""
    head = _Head(
        run.job_id, run.attempt, run.epoch, run.retry_count, run.task, run.timeout_s, run.is_behind, run.fire_at, run.has_limit,
        run.waited_for,
    )  # fmt: skip
    return _encoder.encode(head) + b"\n" + run.payload


def run_id(packet: bytes) -> tuple[str, int]:
    """The (job_id, attempt) of an encoded run."""
    head = _head_decoder.decode(packet.partition(b"\n")[0])
    return head.job_id, head.attempt


def decode_report(body: bytes | bytearray | memoryview) -> Message:
    """Decode an executor's report; raises `Damaged`."""
    head, _, result = bytes(body).partition(b"\n")
    try:
        told = _decoder.decode(head)
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise Damaged(str(wrong)) from wrong
    if isinstance(told, _Progressed):
        return Progressed(job_id=told.job_id, attempt=told.attempt, fraction=told.fraction, note=told.note)
    if isinstance(told, _Held):
        return Held(job_id=told.job_id, attempt=told.attempt, for_s=told.for_s)
    outcome = Outcome(
        status=told.status, result=result or None, error=told.error, traceback=told.traceback,
        retry_delay_s=told.retry_delay_s, unrecoverable=told.unrecoverable,
    )  # fmt: skip
    return Done(job_id=told.job_id, attempt=told.attempt, outcome=outcome, elapsed_s=told.elapsed_s, is_spent=told.is_spent)
