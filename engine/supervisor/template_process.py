"""One template as its supervisor sees it: the process, the line to it, what it prints, and when it last gave a sign of life."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from jobyard.engine.executor.packets import receive_with_descriptors, send_packet
from jobyard.engine.template import messages

OUTPUT_READ_BYTES = 1 << 18
MAX_LINE_CHARS = 1_000


class TemplateState(StrEnum):
    """Where it stands. `CURRENT`: new executors come from it; `RETIRING`: it lives on for those that it has."""

    IMPORTING = "importing"
    CURRENT = "current"
    RETIRING = "retiring"


@dataclass(slots=True, kw_only=True, eq=False)
class TemplateProcess:
    """See the module. `asked_at`: since when it owes an answer; None: it owes none."""

    number: int
    pid: int
    line: socket.socket
    output_fd: int
    socket_name: str
    started_at: float
    heard_at: float
    state: TemplateState = TemplateState.IMPORTING
    asked_at: float | None = None
    is_hung: bool = False
    importing: str = ""
    failure: messages.ImportFailed | None = None
    owners: dict[str, float] = field(default_factory=dict)
    """Dead workers whose executors it was asked to end, and since when."""
    _rest: bytes = b""

    def tell(self, message: messages.Message) -> None:
        """Without waiting; it may be gone, or hang."""
        with contextlib.suppress(OSError):
            send_packet(self.line, messages.encode(message))

    def read(self) -> Iterator[messages.Message]:
        """What it has said since the last time."""
        with contextlib.suppress(OSError):
            while True:
                packet, _ = receive_with_descriptors(self.line)
                if not packet:
                    return
                yield messages.decode(packet)

    def read_output(self, *, is_last: bool = False) -> list[str] | None:
        """The lines that it has printed since the last time; None when nothing more can come."""
        try:
            printed = os.read(self.output_fd, OUTPUT_READ_BYTES)
        except OSError:  # nothing now
            printed, ended = b"", is_last
        else:
            ended = not printed
        *lines, self._rest = (self._rest + printed).split(b"\n")
        if ended or len(self._rest) > OUTPUT_READ_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        if not printed and not lines:
            return None
        shown = (line.decode("utf-8", "replace").rstrip()[:MAX_LINE_CHARS] for line in lines)
        return [text for text in shown if text]

    def close(self) -> None:
        """It is dead."""
        self.line.close()
        os.close(self.output_fd)


Spawn = Callable[[int], TemplateProcess]
"""Starts the template of this number; raises `OSError`."""
