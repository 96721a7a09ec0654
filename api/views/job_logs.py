"""The output of a job's attempts: stored output of attempts that have ended, and output so far of a running one, from its worker.

    client ─▶ scheduler: stored outputs, the worker ─▶ that worker: output so far
                 ▲                                        └─ the attempt has just ended ─┐
                 └─────────────────────── asked once more ───────────────────────────────┘

If the worker does not answer in time, only the output of the running attempt is missing.
"""

from __future__ import annotations

from typing import Protocol

from flask import request

from jobyard.api.http.query import read_job_id, read_query
from jobyard.api.http.reply import Reply, error_reply, unexpected, value_reply
from jobyard.api.views.jobs import SchedulerClient
from jobyard.engine.jobs.job import Output
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.caller import NoAnswer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import GetOutput, ListOutputs, OutputNow, Outputs, Refused

WORKER_S = 1.0
MAX_TRIES = 2


class Calls(Protocol):
    """The part of `Caller` that this view uses."""

    def call(self, name: str, request: Message, *, timeout_s: float) -> Message:
        """The component's reply; raises `NoAnswer`."""


class JobLogs:
    """The view."""

    def __init__(self, scheduler: SchedulerClient, caller: Calls) -> None:
        self._scheduler = scheduler
        self._caller = caller

    def show(self, job_id: str) -> Reply:
        """The output of every attempt, oldest first."""
        read_query(request, ())
        checked_id = read_job_id(job_id)
        shown: list[dict[str, object]] = []
        for _ in range(MAX_TRIES):
            answer = self._scheduler.send(ListOutputs(job_id=checked_id))
            if not isinstance(answer, Outputs):
                return error_reply(answer) if isinstance(answer, Refused) else unexpected(answer)
            running = self._ask_worker(answer)
            shown = _shown(answer, running)
            if answer.worker is None or running is not None:
                break
        return value_reply({"job_id": checked_id, "attempts": shown})

    def _ask_worker(self, stored: Outputs) -> Output | None:
        """The output of the running attempt; None if none is running, or if its worker no longer runs it."""
        if stored.worker is None:
            return None
        last = stored.outputs[-1]
        try:
            answer = self._caller.call(stored.worker, GetOutput(job_id=last.job_id, attempt=last.attempt), timeout_s=WORKER_S)
        except NoAnswer:
            return last
        return answer.output if isinstance(answer, OutputNow) else last


def _shown(stored: Outputs, running: Output | None) -> list[dict[str, object]]:
    outputs = stored.outputs if stored.worker is None else [*stored.outputs[:-1], running or stored.outputs[-1]]
    last, is_running = len(outputs) - 1, stored.is_running or stored.worker is not None
    return [_output(one, is_running=is_running and number == last) for number, one in enumerate(outputs)]


def _output(output: Output, *, is_running: bool) -> dict[str, object]:
    latest = output.progress
    progress = None if latest is None else {"fraction": latest.fraction, "note": latest.note, "at": rfc3339(latest.at)}
    return {
        "attempt": output.attempt, "output": output.text, "is_cut": output.is_cut, "is_running": is_running, "progress": progress,
    }  # fmt: skip
