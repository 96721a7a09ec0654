"""What the processes of this host say of themselves when somebody asks why a job is not running; `why.rules` judges it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from jobyard.engine.topology import QUEUE, WATCHER, WORKER
from jobyard.engine.why.facts import Place, ProcessReport, WorkerSeen
from jobyard.engine.wire.caller import Caller
from jobyard.engine.wire.messages import GetPlace, GetStats, Json, Message

ANSWER_S = 1.0


def look(caller: Caller, names: Sequence[str], job_id: str) -> ProcessReport:
    """As it is now; who does not answer in time is not there."""
    asked = [name for name in names if _role(name) in (WATCHER, WORKER)]
    answers = caller.call_all(asked, GetStats(), timeout_s=ANSWER_S)
    places = caller.call_all([name for name in names if _role(name) == QUEUE], GetPlace(job_id=job_id), timeout_s=ANSWER_S)
    return ProcessReport(
        watchers=len(_told(answers, WATCHER)), workers=tuple(_worker(told) for told in _told(answers, WORKER)),
        place=_first(msgspec.json.decode(answer.body, type=Place) for answer in places.values() if isinstance(answer, Json)),
    )  # fmt: skip


def _told(answers: dict[str, Message | None], role: str) -> list[dict[str, Any]]:
    bodies = [answer.body for name, answer in answers.items() if _role(name) == role and isinstance(answer, Json)]
    return [msgspec.json.decode(body) for body in bodies]


def _worker(told: dict[str, Any]) -> WorkerSeen:
    running = [executor["running_s"] for executor in told["executors"] if executor["job_id"] is not None]
    return WorkerSeen(
        name=told["worker_id"], slots=told["concurrency"], busy=told["currently_running"], longest_s=max(running, default=0),
        fault=told.get("fault"),
    )


def _first(places: Iterable[Place]) -> Place | None:
    return next(iter(places), None)


def _role(name: str) -> str:
    return name.rpartition("-")[0]
