"""The views of the gateway only: health and counters of the whole system, why a job is not running, and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from flask import request

from jobyard.api.http.openapi import document
from jobyard.api.http.query import read_job_id, read_query
from jobyard.api.http.reply import Reply, json_reply, message_reply, value_reply
from jobyard.api.views.jobs import SchedulerClient
from jobyard.api.views.process_meter import ProcessMeter
from jobyard.api.views.process_report import build_report, http_workers_in
from jobyard.api.views.shown import shown_age, shown_processes, shown_stats
from jobyard.engine.control.snapshot import Snapshots
from jobyard.engine.errors import Unavailable
from jobyard.engine.topology import COUNTING
from jobyard.engine.wire.caller import SILENT_S, Caller
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CountJobs, Explain, Json, ListTasks, Ping, Refused
from jobyard.engine.world import World

HEALTH_S = SILENT_S


class _Task(msgspec.Struct):
    task: str


_decode_tasks = msgspec.json.Decoder(list[_Task]).decode


class Gateway:
    """The views."""

    def __init__(
        self, caller: Caller, scheduler: SchedulerClient, *, components: Callable[[], list[str]], meter: ProcessMeter,
        snapshots: Snapshots, world: World, cursor_pattern: str | None = None,
    ) -> None:  # fmt: skip
        self._caller = caller
        self._scheduler = scheduler
        self._components = components
        self._meter = meter
        self._snapshots = snapshots
        self._world = world
        self._cursor_pattern = cursor_pattern

    def health(self) -> Reply:
        """200 if all components answer and are healthy, otherwise 503 naming the others. Busy components have time to answer."""
        read_query(request, ())
        answers = self._caller.call_all(self._components(), Ping(), timeout_s=HEALTH_S)
        states = {name: _health_of(answer) for name, answer in answers.items()}
        down = {name: state for name, state in states.items() if state["status"] != "healthy"}
        if not any(name.startswith("scheduler") for name in states):
            down["scheduler"] = {"status": "down", "reason": "no scheduler is registered"}
        if not down:
            return value_reply({"status": "healthy", "components": states})
        reasons = "; ".join(f"{name}: {state.get('reason', 'down')}" for name, state in down.items())
        error = {"code": "unavailable", "message": f"not healthy: {reasons}", "field": None}
        body = {"status": "unhealthy", "down": sorted(down), "components": states, "error": error}
        return value_reply(body, 503, {"Retry-After": "1"})

    def stats(self) -> Reply:
        """Jobs by status, processes, every component's counters."""
        read_query(request, ())
        snapshot = self._snapshots.take()
        processes = self._meter.measured(shown_processes(snapshot, self._world))
        components = {name: shown_stats(component, self._world) for name, component in snapshot.components.items()}
        missing = {
            row.name: {"error": "has not published its counters yet"}
            for row in snapshot.rows if row.role in COUNTING and row.name not in components
        }  # fmt: skip
        age = shown_age(snapshot.away_since, self._world)
        return value_reply({"jobs": self._jobs(), "processes": processes, "components": components | missing,
                            "http_workers": http_workers_in(snapshot), **age})

    def why(self, job_id: str) -> Reply:
        """Why a job is not running."""
        read_query(request, ())
        checked_id = read_job_id(job_id)
        report = build_report(self._snapshots, self._world.monotonic())
        return message_reply(self._scheduler.send(Explain(job_id=checked_id, report=report)))

    def openapi(self) -> Reply:
        """The OpenAPI document."""
        read_query(request, ())
        return json_reply(document(tasks=self._tasks(), cursor=self._cursor_pattern))

    def _tasks(self) -> tuple[str, ...] | None:
        """Those that can be submitted now; None while no scheduler answers."""
        try:
            answer = self._scheduler.send(ListTasks())
        except Unavailable:
            return None
        return tuple(row.task for row in _decode_tasks(answer.body)) if isinstance(answer, Json) else None

    def _jobs(self) -> object:
        try:
            answer = self._scheduler.send(CountJobs())
        except Unavailable as fault:
            return {"error": fault.message}
        return msgspec.Raw(answer.body) if isinstance(answer, Json) else {"error": getattr(answer, "message", "no answer")}


def _health_of(answer: Message | None) -> dict[str, Any]:
    if isinstance(answer, Json):
        return {"status": "healthy"} | dict(msgspec.json.decode(answer.body))
    return {"status": "down", "reason": answer.message if isinstance(answer, Refused) else "does not answer"}
