"""The `shell` task: runs a program directly, without a shell. The task ends when the program does, even if it left children.

Output is kept up to a limit and discarded beyond it, so memory stays bounded and the program never blocks on a full pipe.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import subprocess
from typing import Any

from jobyard.engine.tasks.context import Unrecoverable

MAX_KEPT_BYTES = 64 << 10
MAX_ERROR_CHARS = 1_000
READ_BYTES = 1 << 20
"""More than the capacity of a pipe, so one read takes everything."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def run_program(payload: Any) -> dict[str, Any]:
    """`{"command": ["program", "argument"]}` → `{"returncode", "stdout", "stderr"}`; raises if the exit status is not 0."""
    command = _command_in(payload)
    with _Output() as stdout, _Output() as stderr:
        status = _run(command, stdout, stderr)
    if status:
        raise RuntimeError(f"{command[0]} ended with {status}: {stderr.text[-MAX_ERROR_CHARS:].strip()}")
    return {"returncode": status, "stdout": stdout.text, "stderr": stderr.text}


def _command_in(payload: Any) -> list[str]:
    command = payload.get("command") if isinstance(payload, dict) and set(payload) == {"command"} else None
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and "\0" not in word for word in command):
        raise Unrecoverable('the payload of shell must be {"command": ["program", "argument", …]}')
    return command


class _Output:
    """An output stream of the program: a pipe, and the beginning of what was read from it."""

    def __enter__(self) -> _Output:
        self._kept = bytearray()
        self.fd, self.write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        return self

    def __exit__(self, *raised: object) -> None:
        os.close(self.fd)

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def read(self) -> bool:
        """Read everything available; False at the end of the stream."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return True
        self._kept += data[: MAX_KEPT_BYTES - len(self._kept)]
        return bool(data)


class _Program(subprocess.Popen[bytes]):
    """Ends when its own start is interrupted, too: `Popen` waits for the program to be there, and would leave it behind."""

    def __init__(self, command: list[str], **options: Any) -> None:
        try:
            super().__init__(command, **options)
        except BaseException:
            if hasattr(self, "pid") and self.returncode is None:
                self.kill()
                self.wait()
            raise


def _run(command: list[str], stdout: _Output, stderr: _Output) -> int:
    try:
        program = _Program(
            command, stdin=subprocess.DEVNULL, stdout=stdout.write_fd, stderr=stderr.write_fd, preexec_fn=_die_with_task
        )  # fmt: skip
    except OSError as wrong:
        raise Unrecoverable(f"{command[0]!r} cannot be run: {wrong.strerror}") from None
    finally:
        os.close(stdout.write_fd)
        os.close(stderr.write_fd)
    try:
        _read_until_it_ends(program.pid, stdout, stderr)
        return program.wait()
    except BaseException:  # the attempt was interrupted, so the program must end too
        program.kill()
        program.wait()
        raise


def _die_with_task() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _read_until_it_ends(pid: int, stdout: _Output, stderr: _Output) -> None:
    pid_fd = os.pidfd_open(pid)
    try:
        with selectors.DefaultSelector() as selector:
            for output in (stdout, stderr):
                selector.register(output.fd, selectors.EVENT_READ, output)
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
