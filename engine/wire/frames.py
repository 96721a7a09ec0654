"""Frames a message on a byte stream: four bytes of length, big-endian, followed by the message in msgpack.

A frame that is too long or cannot be decoded raises `Damaged`; the reader closes that connection and no other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import msgspec

from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import MESSAGES

MAX_FRAME_BYTES = 48 << 20
"""Larger than the largest request body with its envelope; checked before the body is read."""

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MESSAGES)


class Damaged(Exception):
    """The bytes are not a valid frame."""


def encode(message: Message) -> bytes:
    """The message as msgpack, without a length."""
    return _encoder.encode(message)


def decode(body: bytes | bytearray | memoryview) -> Message:
    """Decode what `encode` returned."""
    try:
        message: Message = _decoder.decode(body)
        return message
    except (msgspec.DecodeError, ValueError, RecursionError) as wrong:
        raise Damaged(str(wrong)) from wrong


def frame(message: Message) -> bytes:
    """The message preceded by its length."""
    body = encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise Damaged(f"a {type(message).__name__} of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class Unframer:
    """Takes bytes as they arrive and yields complete messages."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES, decoder: Callable[[bytes], Message] = decode) -> None:
        self._max_bytes = max_bytes
        self._decode = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[Message]:
        """Yield the messages that these bytes complete; raises `Damaged` after those that precede the damage."""
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
