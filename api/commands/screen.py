"""A full-screen terminal: taken over on entering the `with`, restored on leaving it, whatever happens.

Each frame is one write that overwrites the previous frame line by line and clears only what remains of it, so nothing flickers.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import tty
from collections.abc import Sequence
from types import FrameType, TracebackType

from jobyard.api.commands.show import ANSI

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""The alternate screen, no cursor, long lines are cut instead of wrapped."""
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, END_OF_LINE, END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
BEGIN_UPDATE, END_UPDATE = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronized output: terminals that support it show the frame at once; others ignore these codes."""
DEFAULT_SIZE = os.terminal_size((80, 24))
NO_KEY = b"\0"


class Screen:
    """The terminal at these descriptors, within a `with`."""

    def __init__(self, key_fd: int, screen_fd: int, *, has_colours: bool) -> None:
        self._key_fd = key_fd
        self._screen_fd = screen_fd
        self._has_colours = has_colours
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Screen:
        self._before = termios.tcgetattr(self._key_fd)
        self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGWINCH, signal.SIGTERM, signal.SIGHUP)}
        self._wakeup_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        tty.setcbreak(self._key_fd)
        ours = termios.tcgetattr(self._key_fd)
        ours[6][termios.VSUSP] = NO_KEY  # a stop by Ctrl-Z would leave the shell with our screen
        termios.tcsetattr(self._key_fd, termios.TCSANOW, ours)
        self._write(ENTER)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        termios.tcsetattr(self._key_fd, termios.TCSAFLUSH, self._before)
        self._write(LEAVE)
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def size(self) -> os.terminal_size:
        """The current columns and lines; a terminal on a serial line may not know its own."""
        size = os.get_terminal_size(self._screen_fd)
        return size if all(size) else DEFAULT_SIZE

    def draw(self, lines: Sequence[str]) -> None:
        """Draw a frame; lines that do not fit are left out."""
        shown = [line if self._has_colours else ANSI.sub("", line) for line in lines[: self.size.lines]]
        body = f"{END_OF_LINE}\n".join(shown)
        self._write(f"{BEGIN_UPDATE}{HOME}{body}{END_OF_LINE}{END_OF_SCREEN}{END_UPDATE}")

    def wait_key(self, within_s: float) -> str:
        """A key, or "" when the time is up or the size has changed. Raises `KeyboardInterrupt` on a signal to end."""
        ready, _, _ = select.select([self._key_fd, self._wake_read], [], [], within_s)
        if self._wake_read in ready:
            size = os.read(self._wake_read, 100)
            if size.strip(bytes([signal.SIGWINCH])):
                raise KeyboardInterrupt
        if self._key_fd not in ready:
            return ""
        pressed = os.read(self._key_fd, 100)
        if not pressed:  # the terminal is gone
            raise KeyboardInterrupt
        return pressed.decode("utf-8", "replace")

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Does nothing: the wake-up pipe has received the signal already."""

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._screen_fd, data) :]
