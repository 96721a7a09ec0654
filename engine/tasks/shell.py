"""The `shell` task: runs a program, without a shell. The program's exit counts, not that of processes that it leaves running.

What it prints is kept up to a limit, and read beyond it, so that neither memory grows nor the program blocks.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
from typing import Any

from jobyard.engine.tasks.context import Unrecoverable

MAX_SHOWN_BYTES = 64 << 10
MAX_TOLD_CHARS = 1_000
READ_BYTES = 1 << 20
"""More than a pipe holds: one read takes all that is there."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def run_program(payload: Any) -> dict[str, Any]:
    """`{"command": ["program", "argument"]}` → `{"returncode", "stdout", "stderr"}`; fails if the program does."""
    command = _read(payload)
    with _Printed() as stdout, _Printed() as stderr:
        status = _run(command, stdout, stderr)
    if status:
        raise RuntimeError(f"{command[0]} ended with {status}: {stderr.text[-MAX_TOLD_CHARS:].strip()}")
    return {"returncode": status, "stdout": stdout.text, "stderr": stderr.text}


def _read(payload: Any) -> list[str]:
    command = payload.get("command") if isinstance(payload, dict) and set(payload) == {"command"} else None
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and "\0" not in word for word in command):
        raise Unrecoverable('the payload of shell must be {"command": ["program", "argument", …]}')
    return command


class _Printed:
    """One output stream of the program: a pipe, and the beginning of what was printed."""

    def __enter__(self) -> _Printed:
        self._kept = bytearray()
        self.fd, self.far_fd = os.pipe()
        os.set_blocking(self.fd, False)
        return self

    def __exit__(self, *raised: object) -> None:
        os.close(self.fd)

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def read(self) -> bool:
        """Read what is available; False at the end of the stream."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return True
        self._kept += data[: MAX_SHOWN_BYTES - len(self._kept)]
        return bool(data)


def _run(command: list[str], stdout: _Printed, stderr: _Printed) -> int:
    try:
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout.far_fd, stderr=stderr.far_fd, preexec_fn=_die_with_task
        )  # fmt: skip
    except OSError as wrong:
        raise Unrecoverable(f"{command[0]!r} cannot be run: {wrong.strerror}") from None
    finally:
        os.close(stdout.far_fd)
        os.close(stderr.far_fd)
    try:
        _read_until_it_ends(program.pid, stdout, stderr)
        return program.wait()
    except BaseException:  # the task's time is over, and so is the program's
        program.kill()
        program.wait()
        raise


def _die_with_task() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read_until_it_ends(pid: int, stdout: _Printed, stderr: _Printed) -> None:
    pid_fd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            for printed in (stdout, stderr):
                selector.register(printed.fd, selectors.EVENT_READ, printed)
            selector.register(pid_fd, selectors.EVENT_READ)
            ended = False
            while not ended:
                ready = [key for key, _ in selector.select()]
                ended = any(key.data is None for key in ready)
                for key in ready:
                    if key.data is not None and not key.data.read():
                        selector.unregister(key.fd)
    finally:
        os.close(pid_fd)
    stdout.read()
    stderr.read()
