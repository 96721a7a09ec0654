"""A template as the supervisor sees it: the process, the connection to it, its output, and the time of its last message."""

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
    """The state of a template. `CURRENT`: it forks new executors; `RETIRING`: it only waits for its executors to end."""

    IMPORTING = "importing"
    CURRENT = "current"
    RETIRING = "retiring"


@dataclass(slots=True, kw_only=True, eq=False)
class TemplateProcess:
    """See the module. `pinged_at`: when the unanswered ping was sent, if any."""

    number: int
    pid: int
    line: socket.socket
    output_fd: int
    socket_name: str
    started_at: float
    last_message_at: float
    state: TemplateState = TemplateState.IMPORTING
    pinged_at: float | None = None
    is_hung: bool = False
    importing: str = ""
    failure: messages.ImportFailed | None = None
    ready: messages.Ready | None = None
    owners: dict[str, float] = field(default_factory=dict)
    """Dead workers whose executors it was asked to kill, and when."""
    _rest: bytes = b""

    def send(self, message: messages.Message) -> None:
        """Send without blocking; the message is lost if the template is gone or hangs."""
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
        """The lines of output since the last call; None at the end of the output."""
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
        texts = (line.decode("utf-8", "replace").rstrip()[:MAX_LINE_CHARS] for line in lines)
        return [text for text in texts if text]

    def close(self) -> None:
        """Close the descriptors of a dead template."""
        self.line.close()
        os.close(self.output_fd)


Spawn = Callable[[int], TemplateProcess]
"""Starts a template with this number; raises `OSError`."""
