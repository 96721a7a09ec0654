"""Frames: how one message lies on a byte stream. Four bytes of length, big end first, then the message in msgpack.

A frame that is too long or cannot be decoded raises `Damaged`; whoever reads ends that connection and no other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import msgspec

from jobyard.engine.wire.messages import MESSAGES, Message

MAX_FRAME_BYTES = 48 << 20
"""Above the largest request body with its envelope; checked before anything is read."""

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MESSAGES)


class Damaged(Exception):
    """What came is not a frame of ours."""


def encode(message: Message) -> bytes:
    """The message as msgpack, without a length."""
    return _encoder.encode(message)


def decode(body: bytes | bytearray | memoryview) -> Message:
    """The message that `encode` made this of."""
    try:
        message: Message = _decoder.decode(body)
        return message
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise Damaged(str(wrong)) from wrong


def frame(message: Message) -> bytes:
    """The message with its length before it."""
    body = encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise Damaged(f"a {type(message).__name__} of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class Unframer:
    """Takes bytes as they come, gives messages as they are whole."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, decoder: Callable[[bytes], Message] = decode) -> None:
        self._max_bytes = max_bytes
        self._decode = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """The messages that these bytes complete, one by one; raises `Damaged` after those that came before the damage."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, start)
                if length > self._max_bytes:
                    raise Damaged(f"a frame of {length} bytes is over the limit of {self._max_bytes}")
                end = start + _LENGTH.size + length
                if len(self._buffer) < end:
                    break
                yield self._decode(bytes(self._buffer[start + _LENGTH.size : end]))
                start = end
        finally:
            del self._buffer[:start]
