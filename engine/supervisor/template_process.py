"""One template as its supervisor sees it: the process, the connection, what it prints, and when it last responded."""

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
    """Its phase. `CURRENT`: new executors are forked from it; `RETIRING`: it continues for those that it has."""

    IMPORTING = "importing"
    CURRENT = "current"
    RETIRING = "retiring"


@dataclass(slots=True, kw_only=True, eq=False)
class TemplateProcess:
    """See the module. `asked_at`: when it was pinged and has not answered since; None if it has answered."""

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
        """Send without blocking; it may be dead, or hang."""
        with contextlib.suppress(OSError):
            send_packet(self.line, messages.encode(message))

    def read(self) -> Iterator[messages.Message]:
        """The messages since the last call."""
        with contextlib.suppress(OSError):
            while True:
                packet, _ = receive_with_descriptors(self.line)
                if not packet:
                    return
                yield messages.decode(packet)

    def read_output(self, *, is_last: bool = False) -> list[str] | None:
        """The lines that it has printed since the last call; None if nothing more can follow."""
        try:
            printed = os.read(self.output_fd, OUTPUT_READ_BYTES)
        except OSError:  # nothing to read now
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
        """The template has died: close everything."""
        self.line.close()
        os.close(self.output_fd)


Spawn = Callable[[int], TemplateProcess]
"""Start the template with this number; raises `OSError`."""
