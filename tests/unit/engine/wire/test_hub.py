"""The hub over real sockets: what comes, what cannot be sent, who is gone."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged, Unframer, frame
from jobyard.engine.wire.hub import MAX_UNSENT_BYTES, Envelope, Hub, Stream
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Closed, Find, GetItems, Json, Ping, Ready, Wake
from jobyard.engine.wire.run_dir import RunDir
from tests.support.world import START

BIG = Json(body=b"x" * (3 << 20))


class Site:
    """Hubs in one run folder; what is opened here is closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = RunDir(folder)
        self.run_dir.make()
        self._closers: list[Callable[[], None]] = []
        self.hub = self.a_hub()

    def a_hub(self, name: str | None = None) -> Hub:
        hub = Hub(self.run_dir)
        self._closers.append(hub.close)
        if name is not None:
            hub.listen(name)
        return hub

    def pair(self) -> tuple[Stream, socket.socket]:
        """A stream in the hub and the bare other end of it."""
        ours, theirs = socket.socketpair()
        self._closers.append(theirs.close)
        theirs.settimeout(5)
        return self.hub.adopt(ours), theirs

    def hear(self, count: int = 1, *, hub: Hub | None = None) -> list[Envelope]:
        """Poll until so many letters have come."""
        envelopes: list[Envelope] = []
        for _ in range(1000):
            envelopes += (hub or self.hub).poll(0.5 if len(envelopes) < count else 0)
            if len(envelopes) >= count:
                return envelopes
        raise AssertionError(f"only {envelopes} came")

    def close(self) -> None:
        for close in reversed(self._closers):
            close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def read(sock: socket.socket, count: int = 1) -> list[Message]:
    """So many messages from the bare end."""
    unframer = Unframer()
    messages: list[Message] = []
    while len(messages) < count:
        messages += unframer.feed(sock.recv(1 << 20))
    return messages


# ---- what comes


def test_what_no_frame_holds_is_refused_to_its_sender_and_the_connection_goes_on(site: Site) -> None:
    stream, theirs = site.pair()

    with pytest.raises(Damaged):
        stream.send(Json(body=bytes(MAX_FRAME_BYTES)))

    assert stream.send(Ping())
    assert list(Unframer().feed(theirs.recv(1 << 16))) == [Ping()]


def test_everything_that_waits_comes_in_one_turn_in_order(site: Site) -> None:
    stream, other = site.pair()
    other.sendall(frame(Ping()) + frame(GetItems()) + frame(Find(job_id="a")))

    envelopes = site.hub.poll(5)

    assert envelopes == [Envelope(stream, Ping()), Envelope(stream, GetItems()), Envelope(stream, Find(job_id="a"))]


def test_nothing_comes_and_nobody_waits_longer_than_asked_for(site: Site) -> None:
    assert site.hub.poll(0) == []


def test_a_big_message_comes_whole_over_many_turns(site: Site) -> None:
    other = site.a_hub()
    ours, theirs = socket.socketpair()
    receiver, sender = site.hub.adopt(ours), other.adopt(theirs)

    assert sender.send(BIG) and sender.send(Ping())
    envelopes: list[Envelope] = []
    for _ in range(1000):
        other.poll(0)
        envelopes += site.hub.poll(0)
        if len(envelopes) == 2:
            break

    assert envelopes == [Envelope(receiver, BIG), Envelope(receiver, Ping())]


def test_a_connection_is_served_on_the_turn_after_it_was_taken(site: Site) -> None:
    server = site.a_hub("queue-6000")
    client = site.hub.connect("queue-6000")
    assert client is not None
    client.send(Ping())

    (envelope,) = site.hear(hub=server)
    assert envelope.peer is not None and envelope.message == Ping()
    envelope.peer.send(Json(body=b"1"))

    assert site.hear() == [Envelope(client, Json(body=b"1"))]


def test_nobody_listening_is_no_connection(site: Site) -> None:
    site.a_hub("queue-6000").close()

    assert site.hub.connect("queue-6000") is None
    assert site.hub.connect("queue-6001") is None


def test_a_hint_comes_from_nobody(site: Site) -> None:
    server = site.a_hub("watcher-9001")

    site.hub.hint("watcher-9001", Wake(due_at=START))

    assert site.hear(hub=server) == [Envelope(None, Wake(due_at=START))]


def test_a_hint_to_nobody_is_lost_without_a_word(site: Site) -> None:
    site.hub.hint("watcher-9001", Wake(due_at=START))


def test_hints_to_one_that_is_behind_are_lost_and_block_nobody(site: Site) -> None:
    server = site.a_hub("watcher-9001")
    for _ in range(20_000):
        site.hub.hint("watcher-9001", Wake(due_at=START))

    assert 0 < len(server.poll(0)) < 20_000


def test_damaged_hints_are_skipped(site: Site) -> None:
    server = site.a_hub("watcher-9001")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        for data in (b"", b"\xc1", b"\x91" * 1000):
            sock.sendto(data, site.run_dir.path_of("watcher-9001.hints"))
    site.hub.hint("watcher-9001", Ping())

    assert site.hear(hub=server) == [Envelope(None, Ping())]


def test_a_watched_descriptor_is_ready_on_every_turn_until_it_is_read(site: Site) -> None:
    read_fd, write_fd = os.pipe()
    site.hub.watch(read_fd)
    before = site.hub.poll(0)
    os.write(write_fd, b"x")

    turns = [site.hub.poll(0) for _ in range(2)]
    site.hub.forget(read_fd)
    site.hub.forget(read_fd)

    assert before == []
    assert turns == [[Envelope(None, Ready(fd=read_fd))]] * 2
    assert site.hub.poll(0) == []
    os.close(read_fd)
    os.close(write_fd)


# ---- who is gone


def test_a_peer_that_hangs_up_is_told_of_once_after_what_it_said(site: Site) -> None:
    stream, other = site.pair()
    other.sendall(frame(Ping()) + frame(GetItems()))
    other.close()

    envelopes = site.hear(3)

    assert envelopes == [Envelope(stream, Ping()), Envelope(stream, GetItems()), Envelope(stream, Closed())]
    assert site.hub.poll(0) == []
    assert not stream.send(Ping())
    assert site.hub.poll(0) == []


def test_a_peer_that_dies_with_words_of_ours_unread_has_still_said_what_it_said(site: Site) -> None:
    stream, other = site.pair()
    stream.send(Ping())
    other.sendall(frame(GetItems()))
    other.close()

    assert site.hear(2) == [Envelope(stream, GetItems()), Envelope(stream, Closed())]


def test_a_peer_found_gone_while_sending_is_told_of_on_the_next_turn_once(site: Site) -> None:
    stream, other = site.pair()
    other.close()

    sent = [stream.send(Ping()) for _ in range(3)]
    envelopes = site.hear(1)

    assert sent == [False, False, False]
    assert envelopes == [Envelope(stream, Closed())]
    assert site.hub.poll(0) == []


def test_who_ends_a_connection_itself_is_not_told(site: Site) -> None:
    stream, other = site.pair()

    stream.close()
    stream.close()

    assert other.recv(1) == b""
    assert site.hub.poll(0) == []


def test_a_peer_that_never_reads_blocks_nobody_and_loses_its_connection_at_the_limit(site: Site) -> None:
    slow, _ = site.pair()
    well, other = site.pair()
    count = 0
    while slow.send(BIG):
        count += 1
        assert count <= MAX_UNSENT_BYTES // len(BIG.body) + 1

    assert well.send(Ping())
    assert read(other) == [Ping()]
    assert site.hear(1) == [Envelope(slow, Closed())]


def test_what_could_not_be_sent_at_once_is_sent_when_the_peer_reads_in_order(site: Site) -> None:
    stream, other = site.pair()
    messages: list[Message] = [BIG, *(Find(job_id=str(number)) for number in range(2000))]
    for message in messages:
        assert stream.send(message)
    unframer = Unframer()
    got: list[Message] = []
    while len(got) < len(messages):
        site.hub.poll(0)
        got += unframer.feed(other.recv(1 << 20))

    assert got == messages
    assert site.hub.poll(0) == []


# ---- damage


@pytest.mark.parametrize(
    "damage",
    [struct.pack(">I", 1 << 31), struct.pack(">I", 1) + b"\xc1", struct.pack(">I", 0), b"GET / HTTP/1.1\r\n\r\n"],
    ids=["too long", "no message", "empty", "another protocol"],
)
def test_a_damaged_frame_ends_its_connection_and_no_other(site: Site, damage: bytes) -> None:
    bad, bad_end = site.pair()
    good, good_end = site.pair()
    bad_end.sendall(frame(Ping()) + damage)
    good_end.sendall(frame(GetItems()))

    envelopes = site.hear(3)

    assert sorted(map(str, envelopes)) == sorted(
        map(str, [Envelope(bad, Ping()), Envelope(good, GetItems()), Envelope(bad, Closed())])
    )
    assert (bad.open, good.open) == (False, True)


def test_a_frame_over_a_streams_own_limit_ends_its_connection(site: Site) -> None:
    ours, theirs = socket.socketpair()
    stream = site.hub.adopt(ours, max_bytes=10)
    theirs.sendall(struct.pack(">I", 11))

    assert site.hear(1) == [Envelope(stream, Closed())]
    theirs.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([frame(Ping()), frame(Find(job_id="a"))]), max_size=6))
def test_no_bytes_crash_the_hub_or_touch_another_connection(site: Site, pieces: list[bytes]) -> None:
    bad, bad_end = site.pair()
    good, good_end = site.pair()
    for piece in pieces:
        bad_end.sendall(piece)
    bad_end.close()
    good_end.sendall(frame(GetItems()))

    envelopes: list[Envelope] = []
    while Envelope(bad, Closed()) not in envelopes or Envelope(good, GetItems()) not in envelopes:
        envelopes += site.hub.poll(1)

    assert [envelope for envelope in envelopes if envelope.peer is good] == [Envelope(good, GetItems())]
    assert [envelope.message for envelope in envelopes if envelope.peer is bad].count(Closed()) == 1
    good.close()
