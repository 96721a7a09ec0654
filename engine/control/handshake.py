"""The client's part of `multiprocessing.connection`'s mutual authentication, as a value that never waits.

    server: #CHALLENGE# + message      client: its HMAC under the key      server: #WELCOME#
    client: #CHALLENGE# + message      server: its HMAC                    client: #WELCOME#

From Python 3.12 on a message begins with the name of the digest, `{sha256}`, and so does its HMAC; before, it is MD5 without a
name. We ask as we were asked.
"""

from __future__ import annotations

import hmac

from jobyard.engine.control.protocol import Broken

CHALLENGE, WELCOME = b"#CHALLENGE#", b"#WELCOME#"
NAMED, NAMED_MESSAGE_BYTES = b"{sha256}", 40
LEGACY_MESSAGE_BYTES = 20


def load_digests() -> None:
    """What OpenSSL needs for them is a megabyte, which processes share when it is there before they are forked."""
    for digest in ("md5", "sha256"):
        hmac.digest(b"key", b"", digest)


class Handshake:
    """One connection's, from the first frame of the server to `is_done`."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        """`nonce`: 40 random bytes, ours alone."""
        self._key = key
        self._nonce = nonce
        self._asked: bytes | None = None
        self._was_welcomed = False
        self.is_done = False

    def answer(self, text: bytes) -> list[bytes]:
        """What to say to this frame; raises `Broken` when the other side is not who it should be, or takes us for that."""
        if self._asked is None:
            if not text.startswith(CHALLENGE):
                raise Broken("no challenge came")
            message = text[len(CHALLENGE) :]
            self._asked = self._ask_like(message)
            return [self._digest(message)]
        if not self._was_welcomed:
            if text != WELCOME:
                raise Broken("the key was refused")
            self._was_welcomed = True
            return [CHALLENGE + self._asked]
        if not hmac.compare_digest(text, self._digest(self._asked)):
            raise Broken("whoever listens does not know the key")
        self.is_done = True
        return [WELCOME]

    def _ask_like(self, message: bytes) -> bytes:
        if len(message) == LEGACY_MESSAGE_BYTES:
            return self._nonce[:LEGACY_MESSAGE_BYTES]
        return NAMED + self._nonce[:NAMED_MESSAGE_BYTES]

    def _digest(self, message: bytes) -> bytes:
        """The HMAC protects the digest's name too. A message without a name is known by its length: it may begin with anything."""
        if len(message) == LEGACY_MESSAGE_BYTES:
            return hmac.digest(self._key, message, "md5")
        if not message.startswith(NAMED):
            raise Broken("a digest that we do not know is asked for")
        return NAMED + hmac.digest(self._key, message, "sha256")
