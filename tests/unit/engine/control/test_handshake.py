"""The client's side of the handshake, against the standard library's server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError, Pipe, connection

import pytest

from jobyard.engine.control.handshake import CHALLENGE, WELCOME, Handshake
from jobyard.engine.control.protocol import Broken
from tests.support.waiting import LIMIT_S

KEY, NONCE = b"the key", bytes(range(40))


class Server(threading.Thread):
    """The authentication part of a manager's server."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key
        self.ours, self._theirs = Pipe()
        self.refused = False

    def run(self) -> None:
        try:
            connection.deliver_challenge(self._theirs, self._key)
            connection.answer_challenge(self._theirs, self._key)
        except (AuthenticationError, EOFError, OSError):
            self.refused = True
        finally:
            self._theirs.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(KEY)
    server.start()
    yield server
    server.ours.close()
    server.join(LIMIT_S)


def shake(handshake: Handshake, server: Server) -> None:
    while not handshake.is_done:
        for said in handshake.answer(server.ours.recv_bytes()):
            server.ours.send_bytes(said)


def test_both_sides_know_the_key(server: Server) -> None:
    shake(Handshake(KEY, NONCE), server)
    server.join(LIMIT_S)

    assert not server.refused


def test_a_wrong_key_is_refused_by_the_server(server: Server) -> None:
    with pytest.raises(Broken, match="refused"):
        shake(Handshake(b"another", NONCE), server)

    server.join(LIMIT_S)
    assert server.refused


@pytest.mark.parametrize(
    "challenge", [b"m" * 20, b"{sha256}" + b"m" * 12, b"{" * 20, b"{sha256}" + b"m" * 40],
    ids=["before 3.12", "a name by chance", "a brace by chance", "since 3.12"],
)  # fmt: skip
def test_a_server_without_the_key_is_detected(challenge: bytes) -> None:
    handshake = Handshake(KEY, NONCE)
    handshake.answer(CHALLENGE + challenge)
    (asked,) = handshake.answer(WELCOME)

    with pytest.raises(Broken, match="does not know"):
        handshake.answer(b"some digest")

    assert asked == CHALLENGE + (NONCE[:20] if len(challenge) == 20 else b"{sha256}" + NONCE)


@pytest.mark.parametrize("challenge", [b"hello", b"", CHALLENGE + b"{sha1}" + b"m" * 40])
def test_an_unknown_challenge_is_refused(challenge: bytes) -> None:
    with pytest.raises(Broken):
        Handshake(KEY, NONCE).answer(challenge)
