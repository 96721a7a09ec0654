"""Reads the body of a request that submits jobs: JSON objects, each with its payload byte for byte as it was sent."""

from __future__ import annotations

import json

import msgspec

from jobyard.engine.errors import InvalidRequest, TooLarge
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.request_fields import object_of
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, shown

MAX_BATCH = 10_000


class _PayloadOnly(msgspec.Struct):
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Batch(msgspec.Struct):
    jobs: list[_PayloadOnly]


class _RawBatch(msgspec.Struct):
    jobs: list[msgspec.Raw]


def payload_in(body: bytes) -> bytes:
    """The payload of the job that the body is, as JSON text."""
    return bytes(_decode_payload(body).payload)


_decode_payload = msgspec.json.Decoder(_PayloadOnly).decode


def read_batch(body: bytes) -> tuple[list[object], list[bytes]]:
    """The jobs of a batch and their payloads."""
    try:
        batch = object_of(strict_json.decode(body))
    except InvalidRequest:
        _find_bad_job(body)
        raise
    for name in batch:
        if name != "jobs":
            raise InvalidRequest("unknown_field", f"{shown(name)} is not a field of a batch; known: jobs", name[:LONGEST_SHOWN])
    objects = batch.get("jobs")
    if not isinstance(objects, list):
        raise InvalidRequest("invalid_field", "jobs must be an array of jobs", "jobs")
    if not all(isinstance(fields, dict) for fields in objects):
        return objects, [b"null"] * len(objects)
    return objects, [bytes(job.payload) for job in msgspec.json.decode(body, type=_Batch).jobs]


def _find_bad_job(body: bytes) -> None:
    """Raise the first error again with its job's index, as far as the body can be split into jobs."""
    for index, job in enumerate(_apart(body)):
        try:
            strict_json.decode(job)
        except InvalidRequest as wrong:
            raise located(wrong, index) from None


def _apart(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=_RawBatch).jobs]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # for example half of a surrogate pair, which only Python's decoder accepts
    try:
        return [json.dumps(job).encode() for job in json.loads(body)["jobs"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def read_ndjson(body: bytes) -> tuple[list[object], list[bytes]]:
    """The same, one job per line; one more than a batch may have suffices to refuse it."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    objects: list[object] = []
    payloads: list[bytes] = []
    for index, line in enumerate(lines[: MAX_BATCH + 1]):
        try:
            objects.append(object_of(strict_json.decode(line), "a line"))
        except InvalidRequest as wrong:
            raise located(wrong, index) from None
        payloads.append(payload_in(line))
    return objects, payloads


def located(wrong: InvalidRequest | TooLarge, index: int) -> InvalidRequest | TooLarge:
    """The error of a job in a batch, with its index."""
    field = f"jobs[{index}]" + (f".{wrong.field}" if wrong.field else "")
    return type(wrong)(wrong.code, f"jobs[{index}]: {wrong.message}", field)
