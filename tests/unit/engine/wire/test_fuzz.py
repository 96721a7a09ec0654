"""Damage of every kind on the streams between processes: it ends the connection that it came on, and nothing else.

The damage is made from whole frames, so that it gets further than noise would: bytes changed, cut out, doubled and put in, lengths
that lie, values that msgpack can say and no message may hold, one message's end behind another's beginning.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged, decode, encode, frame
from jobyard.engine.wire.hub import Envelope, Hub
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import MESSAGES, Closed, Find, GetItems, Json, Ping, Wake
from jobyard.engine.wire.run_dir import RunDir
from tests.support.world import START
from tests.unit.engine.wire.test_frames import EXAMPLES

BODIES = [encode(message) for message in EXAMPLES]
LIMIT = 4096
"""Of one frame on the streams here: a lie about a length is found out without sending 48 MiB."""
POISON = (
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",  # 2**32 - 1 of it
    b"\xc1", b"\xc0", b"\xa1\xff", b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcf" + b"\xff" * 8,  # none, null, no UTF-8, NaN, 2**64 - 1
    b"\xd6\xff\0\0\0\0", b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + b"\xff" * 12, b"\xc9\xff\xff\xff\xff\x01",  # no times
    b"\x91" * 2000, b"\x81\xa1a" * 700,
)  # fmt: skip
KINDS = MESSAGES.__args__
ANY = st.integers(0, 1 << 20)


@st.composite
def damaged_bodies(draw: st.DrawFn) -> bytes:
    """A message after one to four accidents; now and then it is still one."""
    body = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(ANY) % (len(body) + 1)
        accident = draw(st.sampled_from("change cut put poison splice double".split()))
        if accident == "change":
            body[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif accident == "cut":
            del body[at : at + draw(st.integers(1, 8))]
        elif accident == "put":
            body[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif accident == "poison":
            body[at : at + draw(st.integers(0, 8))] = draw(st.sampled_from(POISON))
        elif accident == "splice":
            other = draw(st.sampled_from(BODIES))
            body[at:] = other[draw(ANY) % len(other) :]
        else:
            body[at:at] = body[:at]
    return bytes(body)


whole = st.sampled_from([frame(message) for message in EXAMPLES])
framed_damage = damaged_bodies().map(lambda body: struct.pack(">I", len(body)) + body)
lies = st.builds(
    lambda by, body: struct.pack(">I", max(0, min(len(body) + by, (1 << 32) - 1))) + body,
    st.sampled_from([-5, -1, 1, 3, LIMIT, MAX_FRAME_BYTES, 1 << 32]), st.sampled_from(BODIES),
)  # fmt: skip
streams = st.lists(st.one_of(whole, whole, whole, framed_damage, lies, st.binary(max_size=20)), max_size=6).map(b"".join)


def told_by(stream: bytes) -> tuple[list[Message], bool]:
    """What a stream says before its damage, and whether there is any: the frames' format, written down a second time."""
    messages = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "big")
        if length > LIMIT:
            return messages, True
        if len(stream) < 4 + length:
            break
        try:
            messages.append(decode(stream[4 : 4 + length]))
        except Damaged:
            return messages, True
        stream = stream[4 + length :]
    return messages, False


class Wires:
    """A hub that listens as `queue-6000`, and the bare ends of what is connected to it."""

    def __init__(self, folder: str) -> None:
        self.run_dir = RunDir(Path(folder))
        self.run_dir.make()
        self.hub = Hub(self.run_dir)
        self.hub.listen("queue-6000")
        self.envelopes: list[Envelope] = []
        self.ends: list[socket.socket] = []

    def dial(self) -> socket.socket:
        """The bare end of a new connection, as another process has it."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.ends.append(end)
        end.settimeout(5)
        end.connect(self.run_dir.path_of("queue-6000.sock"))
        return end

    def poll(self) -> None:
        self.envelopes += self.hub.poll(0)

    def settle(self) -> None:
        """Poll until nothing comes any more."""
        before = -1
        while before < len(self.envelopes):
            before = len(self.envelopes)
            self.poll()
            self.poll()

    def close(self) -> None:
        for end in self.ends:
            end.close()
        self.hub.close()


@contextlib.contextmanager
def wires() -> Iterator[Wires]:
    """A fresh hub for one example."""
    with tempfile.TemporaryDirectory() as folder:
        made = Wires(folder)
        try:
            yield made
        finally:
            made.close()


@settings(max_examples=1500)
@given(damaged_bodies())
def test_a_damaged_message_is_damage_or_a_message_that_holds_what_its_type_says(body: bytes) -> None:
    try:
        message = decode(body)
    except Damaged:
        return

    assert isinstance(message, KINDS)
    assert decode(encode(message)) == message or "nan" in repr(message)


@settings(max_examples=250)
@given(said=st.lists(streams, min_size=1, max_size=4), cuts=st.lists(st.tuples(ANY, ANY), max_size=16))
@example(said=[frame(Ping()) + b"\0\0\0\1\xc1" + frame(Ping()), frame(Ping())], cuts=[])
def test_each_connection_says_what_came_before_its_own_damage_and_the_others_all(
    said: list[bytes], cuts: list[tuple[int, int]]
) -> None:
    """Pieces of all streams come in any order, between turns of the hub."""
    with wires() as site:
        adopted = []
        for _ in said:
            ours, theirs = socket.socketpair()
            site.ends.append(theirs)
            adopted.append(site.hub.adopt(ours, LIMIT))
        unsent = list(said)
        for which, much in [*cuts, *((index, 1 << 30) for index in range(len(said)))]:
            index = which % len(said)
            piece, unsent[index] = unsent[index][:much], unsent[index][much:]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                site.ends[index].sendall(piece)
            site.poll()
        site.settle()

        for stream, text in zip(adopted, said, strict=True):
            messages, is_damaged = told_by(text)
            heard = [envelope.message for envelope in site.envelopes if envelope.peer is stream]
            assert [*map(encode, heard)] == [*map(encode, messages + [Closed()] * is_damaged)]
            assert stream.open is not is_damaged
            assert stream.send(Ping()) is not is_damaged


@settings(max_examples=100)
@given(damage=st.lists(streams, max_size=3), hints=st.lists(damaged_bodies() | st.binary(max_size=30), max_size=5))
def test_the_hub_goes_on_listening_whatever_comes(damage: list[bytes], hints: list[bytes]) -> None:
    """Through the door that other processes use: a bad peer's and a good one's connection, and the hints."""
    with wires() as site, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        for text in damage:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                site.dial().sendall(text)
            site.poll()
        for hint in hints:
            out.sendto(hint, site.run_dir.path_of("queue-6000.hints"))
        site.settle()
        asked = len(site.envelopes)

        good = site.dial()
        good.sendall(frame(Find(job_id="a")))
        out.sendto(encode(Wake(due_at=START)), site.run_dir.path_of("queue-6000.hints"))
        site.settle()

        fresh = site.envelopes[asked:]
        assert [envelope.message for envelope in fresh if envelope.peer is None] == [Wake(due_at=START)]
        (envelope,) = [envelope for envelope in fresh if envelope.peer is not None]
        assert envelope.message == Find(job_id="a") and envelope.peer is not None
        assert envelope.peer.send(Json(body=b"1"))
        assert good.recv(100) == frame(Json(body=b"1"))


@settings(max_examples=60)
@given(text=streams, cut=ANY)
def test_a_peer_that_dies_anywhere_is_told_of_once_after_what_it_said(text: bytes, cut: int) -> None:
    text = text[: cut % (len(text) + 1)]
    with wires() as site:
        ours, theirs = socket.socketpair()
        stream = site.hub.adopt(ours, LIMIT)
        theirs.sendall(text)
        theirs.close()
        site.settle()

        heard = [encode(envelope.message) for envelope in site.envelopes]
        assert heard == [*map(encode, told_by(text)[0]), encode(Closed())]
        assert {envelope.peer for envelope in site.envelopes} == {stream}


@settings(max_examples=60)
@given(length=st.integers(LIMIT + 1, (1 << 32) - 1))
def test_a_frame_over_the_limit_ends_its_connection_before_any_of_it_has_come(length: int) -> None:
    with wires() as site:
        ours, theirs = socket.socketpair()
        site.ends.append(theirs)
        stream = site.hub.adopt(ours, LIMIT)
        theirs.sendall(frame(GetItems()) + struct.pack(">I", length))
        site.settle()

        assert site.envelopes == [Envelope(stream, GetItems()), Envelope(stream, Closed())]
