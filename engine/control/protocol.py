"""The protocol of a multiprocessing manager whose serializer is JSON: files, object names, requests, answers, frames.

A request is `[object, method, [argument, …], {}]`; its answer is `["#RETURN", value]`, or another tag with an error message.
A frame is a four-byte big-endian length and the text, as in `multiprocessing.connection`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from jobyard.engine.wire.run_dir import CONTROL_SOCKET, RunDir

CONTROL = "control"
"""The role, and the name of its process."""
SOCKET, KEY, HELD = CONTROL_SOCKET, "control.key", "control.held"
"""Files in `DATA_DIR/run`: the socket, the key (0600, new for every process), and the lock of the process that serves."""

ROSTER, COUNTERS, COMMANDS, OVERVIEW = "roster", "counters", "commands", "overview"
EXPOSED = {
    ROSTER: ("read", "write", "remove"), COUNTERS: ("read", "publish"), OVERVIEW: ("read",),
    COMMANDS: ("give", "withdraw", "take", "settle", "outcome"),
}  # fmt: skip
"""The shared objects and the methods that may be called; nothing else can be."""

RETURN = "#RETURN"
HEADER = struct.Struct("!i")
MAX_BYTES = 64 << 20


class Broken(OSError):
    """The peer violates the protocol or failed to authenticate."""


class CallFailed(Exception):
    """The server raised an error while handling the call: a bug, so retrying does not help."""


def request(name: str | None, method: str, *arguments: object) -> bytes:
    """The text of a request."""
    return msgspec.json.encode((name, method, arguments, {}))


def read_answer(text: bytes) -> Any:
    """The returned value; raises `CallFailed`."""
    try:
        mark, value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, TypeError) as fault:
        raise Broken(f"not an answer of a manager: {fault}") from fault
    if mark != RETURN:
        raise CallFailed(str(value).strip().rpartition("\n")[2])
    return value


def framed(text: bytes) -> bytes:
    """A text, ready to be sent."""
    return HEADER.pack(len(text)) + text


class Frames:
    """Splits received bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The texts that are complete now."""
        self._data += data
        while len(self._data) >= HEADER.size:
            (size,) = HEADER.unpack_from(self._data)
            if not 0 <= size <= MAX_BYTES:
                raise Broken(f"a frame of {size} bytes")
            if len(self._data) < HEADER.size + size:
                return
            text = bytes(self._data[HEADER.size : HEADER.size + size])
            del self._data[: HEADER.size + size]
            yield text


def read_key(run_dir: RunDir) -> bytes:
    """The current key; raises `FileNotFoundError` when no control process has ever run, or the last one was stopped."""
    return (run_dir.path / KEY).read_bytes()


def remove_names(run_dir: RunDir) -> None:
    """Remove the socket and the key: no control process is left."""
    for name in (SOCKET, KEY):
        (run_dir.path / name).unlink(missing_ok=True)
