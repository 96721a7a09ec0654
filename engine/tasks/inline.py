"""Calls a task in this process as a worker would: with a `current_job()`, payload and result passed through JSON.

Without what a worker adds: timeout, retries, a separate process.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from jobyard.engine.jobs.json_text import to_json_text
from jobyard.engine.tasks.context import CurrentJob, executing
from jobyard.engine.world import World

TIMEOUT_S = 3600.0


def call_inline(
    bind: Callable[[object], Callable[[], Any]], payload: Any, *, attempt: int = 1, timeout_s: float | None = None
) -> Any:  # fmt: skip
    """The task's result for this payload, both converted to JSON and back; raises what the task raises.

    `bind` makes the call for a payload.
    """
    world = World()
    job = CurrentJob(
        job_id=world.object_id(), attempt=attempt, epoch=2 * attempt, retry_count=attempt - 1,
        deadline=world.now() + timedelta(seconds=timeout_s or TIMEOUT_S), report=lambda *progress: None,
    )  # fmt: skip
    call = bind(json.loads(to_json_text(payload)))
    return json.loads(to_json_text(call_as(job, call), root="result"))


def call_as(job: CurrentJob, call: Callable[[], Any]) -> Any:
    """The result of the call with this job as the current one; a coroutine is run to completion."""
    with executing(job):
        value = call()
        return _run_coroutine(value) if inspect.iscoroutine(value) else value


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a new event loop; in a new thread if this one is already running a loop, as in an async test."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    ended: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            ended.append(asyncio.run(coroutine))
        except BaseException as wrong:  # raised again in the waiting thread
            raised.append(wrong)

    thread = threading.Thread(target=run, name="task")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return ended[0]
