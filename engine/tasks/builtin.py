"""The tasks that come with it: `echo`, `http` with its guards, `shell` when it is asked for."""

from __future__ import annotations

from typing import Any

from jobyard.engine.tasks.registry import DEFINED, Task, TaskOptions
from jobyard.engine.tasks.shell import run_program
from jobyard.engine.tasks.web import send_request


def register_builtin(*, enable_shell: bool, http_allow_private: bool) -> None:
    """Make them known in this process; before any module of the user's, so that none takes their names unnoticed."""
    tasks = {"echo": echo, "http": lambda payload: send_request(payload, allow_private=http_allow_private)}
    if enable_shell:
        tasks["shell"] = run_program
    for name, function in tasks.items():
        DEFINED.replace(Task(name=name, function=function, options=TaskOptions()))


def echo(payload: Any) -> Any:
    """Returns its payload."""
    return payload
