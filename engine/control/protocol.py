"""How one speaks with a multiprocessing manager whose serializer is JSON: files, names, requests, answers, frames.

A request is `[object, method, [argument, …], {}]`, its answer `["#RETURN", value]`, or another mark and words on what went wrong.
A frame is four bytes of length, big-endian, and the text: as `multiprocessing.connection` has it.
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
"""Files in `DATA_DIR/run`: where it listens, what authenticates both sides (0600, of one process), who is it (flock)."""

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
    """The other side does not keep to the protocol, or could not authenticate."""


class CallFailed(Exception):
    """The call came through, and failed there: a fault of ours, and nothing that passes."""


def request(name: str | None, method: str, *arguments: object) -> bytes:
    """The text of a call."""
    return msgspec.json.encode((name, method, arguments, {}))


def read_answer(text: bytes) -> Any:
    """What a call returned; raises `CallFailed`."""
    try:
        mark, value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, TypeError) as fault:
        raise Broken(f"no answer of a manager: {fault}") from fault
    if mark != RETURN:
        raise CallFailed(str(value).strip().rpartition("\n")[2])
    return value


def framed(text: bytes) -> bytes:
    """A text, ready to be sent."""
    return HEADER.pack(len(text)) + text


class Frames:
    """Texts from bytes as they come."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What is complete now."""
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
    """The key of the control process that runs, or ran last; raises `FileNotFoundError` when there has never been one."""
    return (run_dir.path / KEY).read_bytes()


def remove_names(run_dir: RunDir) -> None:
    """Nobody is control any more."""
    for name in (SOCKET, KEY):
        (run_dir.path / name).unlink(missing_ok=True)
