"""Frames: what is encoded comes back, in whatever pieces; what is damaged is refused and nothing worse."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobyard.engine.jobs.job import ExecutionStatus, JobFilter, Outcome, Status
from jobyard.engine.wire.capacity import Offer
from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged, Unframer, decode, encode, frame
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    Accepted,
    Closed,
    Done,
    Find,
    Json,
    List,
    Ping,
    Ready,
    Refused,
    Replied,
    Submit,
    Submits,
    Wake,
)
from jobyard.engine.wire.queue_messages import Ack, Delivery, Leased, Push, Room, Want
from tests.support.builders import a_job, a_ticket

EXAMPLES: list[Message] = [
    Ping(),
    Find(job_id="69541618f7d4e1295bfa447b"),
    List(wanted=JobFilter(status=Status.PENDING, task="é")),
    Submit(form="job", body=b"\x00\xff{}", first_id="0" * 24, deadline=1234.5, idempotency_key="k"),
    Accepted(job_ids=["0" * 24] * 3, repeated=1),
    Submits(first_number=5, submits=[Submit(form="job", body=b"{}", first_id="0" * 24, deadline=1.5)] * 2),
    Replied(replies=[(5, Accepted(job_ids=["0" * 24])), (6, Refused(code="c", message="m", retry_after_s=1))]),
    Json(body=b"[]", cursor="c"),
    Want(owner="box:b00t:worker-7001:1", limit=64, short_limit=128, costs={"echo": 1}),
    Room(granted=[Offer(owner="box:b00t:worker-7001:1", free=32, ahead=64)], pushes=3),
    Push(deliveries=[Delivery(owner="w", units=32, tickets=[a_ticket(), a_ticket(priority=9)], jobs=msgspec.Raw(b"\x90"))]),
    Leased(jobs=msgspec.Raw(msgspec.msgpack.encode([a_job()])), units=32, is_again=True),
    Ack(leases=[("0" * 24, 7)]),
    Wake(due_at=datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    Done(job_id="0" * 24, attempt=1, outcome=Outcome(status=ExecutionStatus.FAILED, error="\u0000"), elapsed_s=0.1),
]


def feed(unframer: Unframer, data: bytes) -> list[Message]:
    return list(unframer.feed(data))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.lists(st.sampled_from(EXAMPLES), max_size=8), st.data())
def test_messages_come_back_in_order_however_the_stream_is_cut(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(frame(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    unframer = Unframer()

    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    got = [message for piece in pieces for message in feed(unframer, piece)]

    assert got == messages


def test_a_stream_byte_by_byte_gives_each_message_with_its_last_byte() -> None:
    unframer = Unframer()
    stream = frame(EXAMPLES[1]) + frame(EXAMPLES[0])

    got = [len(feed(unframer, stream[at : at + 1])) for at in range(len(stream))]

    assert [at for at, count in enumerate(got) if count] == [len(frame(EXAMPLES[1])) - 1, len(stream) - 1]


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_a_message_or_damaged(data: bytes) -> None:
    try:
        decode(data)
    except Damaged:
        pass


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_flipped_byte_gives_a_message_or_damage(message: Message, data: st.DataObject) -> None:
    body = bytearray(encode(message))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    try:
        decode(bytes(body))
    except Damaged:
        pass


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_message_that_breaks_off_is_damaged(message: Message, data: st.DataObject) -> None:
    body = encode(message)

    with pytest.raises(Damaged):
        decode(body[: data.draw(st.integers(0, len(body) - 1))])


@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa1a"])
def test_nesting_without_end_is_damage(level: bytes) -> None:
    with pytest.raises(Damaged):
        decode(b"\x82\xa4type\xa4Find\xa1x" + level * 100_000 + b"\xc0")


@pytest.mark.parametrize("message", [Closed(), Ready(fd=3)])
def test_what_the_hub_alone_may_say_is_damage_when_it_comes_over_the_wire(message: Message) -> None:
    with pytest.raises(Damaged):
        decode(encode(message))


def test_an_unknown_kind_and_a_field_of_the_wrong_type_are_damage() -> None:
    bodies: list[object] = [{"type": "Nonsense"}, {"type": "Find", "job_id": 5}, {"type": "Find"}, [], "Ping"]
    for body in bodies:
        with pytest.raises(Damaged):
            decode(msgspec.msgpack.encode(body))


def test_a_frame_over_the_limit_is_refused_before_any_of_it_is_kept() -> None:
    unframer = Unframer(max_bytes=100)

    with pytest.raises(Damaged, match="101 bytes is over the limit of 100"):
        feed(unframer, struct.pack(">I", 101))


def test_a_frame_at_the_limit_is_taken() -> None:
    message = Json(body=b"x" * 100)

    assert feed(Unframer(max_bytes=len(encode(message))), frame(message)) == [message]


def test_what_came_whole_before_the_damage_is_given() -> None:
    got = []

    with pytest.raises(Damaged):
        for message in Unframer().feed(frame(EXAMPLES[0]) + struct.pack(">I", 1) + b"\xc1"):
            got.append(message)

    assert got == [EXAMPLES[0]]


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(Damaged, match="a Json of"):
        frame(Json(body=b"x" * MAX_FRAME_BYTES))
