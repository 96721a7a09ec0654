"""The tasks that come with it: `echo`, `http` with its guards, `shell` when it is asked for."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from typing import Any

from engine.tasks.context import Unrecoverable, current_job
from engine.tasks.registry import DEFINED, Task, TaskOptions
from engine.tasks.web import send_request
from engine.world import World

MAX_OUTPUT_CHARS = 64 << 10
PR_SET_PDEATHSIG = 1


def register_builtin(*, enable_shell: bool, http_allow_private: bool) -> None:
    """Make them known in this process."""
    tasks = {"echo": echo, "http": lambda payload: send_request(payload, allow_private=http_allow_private)}
    if enable_shell:
        tasks["shell"] = shell
    for name, function in tasks.items():
        DEFINED.add(Task(name=name, function=function, options=TaskOptions()))


def echo(payload: Any) -> Any:
    """Returns its payload."""
    return payload


def shell(payload: Any) -> dict[str, Any]:
    """Runs `{"command": ["program", "argument"]}` without a shell between; fails when the program does."""
    command = payload.get("command") if isinstance(payload, dict) else None
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and "\0" not in word for word in command):
        raise Unrecoverable('the payload of shell must be {"command": ["program", "argument", …]}')
    libc = ctypes.CDLL(None)
    left_s = (current_job().deadline - World().now()).total_seconds()
    try:
        ended = subprocess.run(  # noqa: S603
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=max(0.01, left_s), check=False,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        )  # fmt: skip
    except FileNotFoundError:
        raise Unrecoverable(f"there is no program {command[0]!r}") from None
    stdout, stderr = _shown(ended.stdout), _shown(ended.stderr)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} ended with {ended.returncode}: {stderr[-1000:].strip()}")
    return {"returncode": ended.returncode, "stdout": stdout, "stderr": stderr}


def _shown(output: bytes) -> str:
    return output[: 4 * MAX_OUTPUT_CHARS].decode("utf-8", "replace")[:MAX_OUTPUT_CHARS]
