"""The built-in tasks: `echo`, `http` with its address checks, `webhook` for hooks, and, if enabled, `shell`."""

from __future__ import annotations

import functools
from typing import Any

from jobyard.engine.tasks.registry import DEFINED, Task, TaskOptions
from jobyard.engine.tasks.shell import run_program
from jobyard.engine.tasks.web import send_request
from jobyard.engine.tasks.webhook import NAME as WEBHOOK
from jobyard.engine.tasks.webhook import deliver


def register_builtin(*, enable_shell: bool, http_allow_private: bool) -> None:
    """Register them in this process, before the user's modules are imported, so that reusing one of their names is an error."""
    tasks = {"echo": echo, "http": lambda payload: send_request(payload, allow_private=http_allow_private)}
    if enable_shell:
        tasks["shell"] = run_program
    deliver_here = functools.partial(deliver, allow_private=http_allow_private)
    DEFINED.replace(Task(name=WEBHOOK, function=deliver_here, options=TaskOptions()))
    for name, function in tasks.items():
        DEFINED.replace(Task(name=name, function=function, options=TaskOptions()))


def echo(payload: Any) -> Any:
    """Returns its payload."""
    return payload
