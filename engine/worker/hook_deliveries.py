"""Prepares the jobs that deliver events to hooks: each try gets the hook's url and secrets as they are now, in memory only.

The delivery of a hook that was deleted or disabled ends `cancelled`; a receiver that answers 410 has its hook disabled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hooks.hook import WEBHOOK, Disabled, Hook
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome
from jobyard.engine.logs import Log
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.webhook import GONE_WORDS
from jobyard.engine.worker.executor_pool import Ended
from jobyard.engine.world import World

GUARD_TRIES = 5


@dataclass(slots=True)
class Prepared:
    """Jobs to run; jobs that have been cancelled; jobs to be returned, because the database could not be asked."""

    to_run: list[Job] = field(default_factory=list)
    cancelled: list[Job] = field(default_factory=list)
    returned: list[Job] = field(default_factory=list)


class HookDeliveries:
    """Those of one worker."""

    def __init__(self, *, world: World, store: Store, log: Log) -> None:
        self._world = world
        self._store = store
        self._log = log

    def prepare(self, jobs: Sequence[Job]) -> Prepared:
        """Complete the deliveries among these jobs, which are about to run."""
        prepared = Prepared(to_run=[job for job in jobs if job.task != WEBHOOK])
        for job in jobs:
            if job.task == WEBHOOK:
                try:
                    self._prepare(job, prepared)
                except StoreUnavailable:
                    prepared.returned.append(job)
        return prepared

    def note_ended(self, ended: Sequence[Ended]) -> None:
        """Disable the hooks whose receivers want nothing any more. Raises `StoreUnavailable`."""
        for end in ended:
            if end.attempt.job.task == WEBHOOK and end.outcome is not None and GONE_WORDS in (end.outcome.error or ""):
                self._disable(str(msgspec.json.decode(end.attempt.job.payload)["hook"]))

    def _prepare(self, job: Job, prepared: Prepared) -> None:
        payload: dict[str, Any] = msgspec.json.decode(job.payload, type=dict[str, msgspec.Raw])
        name = str(msgspec.json.decode(payload.get("hook", b'""')))
        row, now = self._store.hooks.find(name), self._world.now()
        hook = None if row is None else _decode(row.body)
        if hook is None or hook.url is None or hook.disabled is not None:
            words = f"the hook {name} was deleted" if hook is None else f"the hook {name} delivers nothing"
            self._cancel(job, words, now)
            prepared.cancelled.append(job)
            return
        payload |= {"url": hook.url, "secrets": hook.secrets(now), "traceparent": job.traceparent}
        prepared.to_run.append(msgspec.structs.replace(job, payload=msgspec.json.encode(payload)))

    def _cancel(self, job: Job, words: str, now: datetime) -> None:
        outcome = Outcome(status=ExecutionStatus.CANCELLED, error=words)
        self._store.apply([lifecycle.settle(job, outcome, now=now, retry_base_s=0)])

    def _disable(self, name: str) -> None:
        for _ in range(GUARD_TRIES):
            row = self._store.hooks.find(name)
            if row is None or (hook := _decode(row.body)).disabled is not None:
                return
            off = Disabled(at=self._world.now(), reason=GONE_WORDS)
            after = msgspec.structs.replace(hook, disabled=off, version=row.version + 1)
            if self._store.hooks.save(NamedRow(name, after.version, msgspec.json.encode(after)), was=row.version):
                self._log.warning("hook_disabled", hook=name, reason=GONE_WORDS)
                return


_decode = msgspec.json.Decoder(Hook).decode
