"""The client's side of `multiprocessing.connection`'s mutual authentication, as a state machine without I/O.

    server: #CHALLENGE# + message      client: its HMAC under the key      server: #WELCOME#
    client: #CHALLENGE# + message      server: its HMAC                    client: #WELCOME#

Since Python 3.12 a message begins with the digest's name, `{sha256}`, and so does its HMAC; earlier versions use MD5 without a
name. The client's challenge has the form of the server's.
"""

from __future__ import annotations

import hmac

from jobyard.engine.control.protocol import Broken

CHALLENGE, WELCOME = b"#CHALLENGE#", b"#WELCOME#"
NAMED, NAMED_MESSAGE_BYTES = b"{sha256}", 40
LEGACY_MESSAGE_BYTES = 20


def load_digests() -> None:
    """Initialize OpenSSL's digests before processes are forked, which then share that memory."""
    for digest in ("md5", "sha256"):
        hmac.digest(b"key", b"", digest)


class Handshake:
    """The handshake of one connection, from the server's first frame to `is_done`."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        """`nonce`: 40 fresh random bytes."""
        self._key = key
        self._nonce = nonce
        self._asked: bytes | None = None
        self._was_welcomed = False
        self.is_done = False

    def answer(self, text: bytes) -> list[bytes]:
        """The frames to send in answer to this one; raises `Broken` when either side fails to authenticate."""
        if self._asked is None:
            if not text.startswith(CHALLENGE):
                raise Broken("the server sent no challenge")
            message = text[len(CHALLENGE) :]
            self._asked = self._ask_like(message)
            return [self._digest(message)]
        if not self._was_welcomed:
            if text != WELCOME:
                raise Broken("the key was refused")
            self._was_welcomed = True
            return [CHALLENGE + self._asked]
        if not hmac.compare_digest(text, self._digest(self._asked)):
            raise Broken("the server does not know the key")
        self.is_done = True
        return [WELCOME]

    def _ask_like(self, message: bytes) -> bytes:
        if len(message) == LEGACY_MESSAGE_BYTES:
            return self._nonce[:LEGACY_MESSAGE_BYTES]
        return NAMED + self._nonce[:NAMED_MESSAGE_BYTES]

    def _digest(self, message: bytes) -> bytes:
        """The HMAC covers the digest's name. A message without one is recognized by its length: it may begin with any byte."""
        if len(message) == LEGACY_MESSAGE_BYTES:
            return hmac.digest(self._key, message, "md5")
        if not message.startswith(NAMED):
            raise Broken("the server asks for an unknown digest")
        return NAMED + hmac.digest(self._key, message, "sha256")
