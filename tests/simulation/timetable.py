"""Clients that make, change, pause, resume, run and delete schedules while faults last."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Status
from jobyard.engine.schedules.schedule import CATCH_UP, OVERLAP
from jobyard.engine.schedules.verbs import ScheduleVerb
from jobyard.engine.wire.messages import AskSchedules
from tests.simulation.clients import Call
from tests.simulation.event_queue import EventQueue, Violation
from tests.simulation.host import Host
from tests.simulation.store import SharedStore

NAMES = ("one", "two", "three")
CATCHES_UP_WITHIN_S = 60.0
FAR_S = 90.0
TASKS = ("quick", "quick", "slow", "second")


class Timetable:
    """What clients do with schedules while faults last."""

    def __init__(self, event_queue: EventQueue, hosts: list[Host], store: SharedStore) -> None:
        self._queue = event_queue
        self._hosts = hosts
        self._store = store
        self._has_ended = False

    def begin(self) -> None:
        """Make some schedules, and change them now and then."""
        for name in NAMES[: self._queue.chance.choice([1, 2, 3])]:
            self._queue.after(self._queue.between(0, 3), lambda name=name: self._put(name, self._every_s()))  # type: ignore[misc]
        self._plan_change()

    def end(self) -> None:
        """All due fires are made soon; then the schedules are deleted, and what a wrong clock has put off is cancelled."""
        self._has_ended = True
        ends_at = self._queue.now + CATCHES_UP_WITHIN_S
        while left := self._behind():
            if self._queue.now > ends_at:
                raise Violation(f"nobody looks at the schedules {left}")
            self._queue.pass_time(1.0)
        for schedule in self._store.schedules.all():
            self._store.schedules.delete(schedule.name)
        self._queue.pass_time(1.0)
        latest = self._right_now() + timedelta(seconds=FAR_S)
        late = [job for job in self._store.all_jobs() if job.status is Status.PENDING and job.scheduled_at > latest]
        self._store.apply([lifecycle.cancel(job, now=self._right_now()) for job in late])

    def _behind(self) -> list[str]:
        """The schedules that are due since some seconds, by the right time."""
        due = self._right_now() - timedelta(seconds=5)
        return [one.name for one in self._store.schedules.all() if one.next_fire_at is not None and one.next_fire_at < due]

    def _right_now(self) -> datetime:
        world = self._hosts[0].world
        return world.now() - timedelta(seconds=world.wall_offset_s)

    def _plan_change(self) -> None:
        self._queue.after(self._queue.chance.expovariate(1 / 6.0), self._change)

    def _change(self) -> None:
        if self._has_ended:
            return
        name = self._queue.chance.choice(NAMES)
        stored = self._store.schedules.find(name)
        every_s = stored.asked.timing.every_s if stored is not None else None
        acts: list[Callable[[], None]] = [
            lambda: self._ask(ScheduleVerb.PAUSE, name), lambda: self._ask(ScheduleVerb.PAUSE, name),
            lambda: self._ask(ScheduleVerb.RESUME, name), lambda: self._ask(ScheduleVerb.RESUME, name),
            lambda: self._ask(ScheduleVerb.RUN, name), lambda: self._ask(ScheduleVerb.DELETE, name),
            lambda: self._put(name, every_s or self._every_s()), lambda: self._put(name, self._every_s()),
        ]  # fmt: skip
        self._queue.chance.choice(acts)()
        self._plan_change()

    def _every_s(self) -> float:
        return self._queue.chance.choice([1, 1, 2.5, 10, 60])

    def _put(self, name: str, every_s: float) -> None:
        chance = self._queue.chance
        job = {"task": chance.choice(TASKS), "timeout_s": 3, "max_retries": chance.choice([0, 1])}
        body = {
            "every_s": every_s, "overlap": chance.choice(OVERLAP), "catch_up": chance.choice(CATCH_UP),
            "catch_up_max": chance.choice([1, 5, 20]), "job": job,
        }  # fmt: skip
        self._ask(ScheduleVerb.PUT, name, json.dumps(body).encode())

    def _ask(self, verb: ScheduleVerb, name: str, body: bytes = b"") -> None:
        host = self._queue.chance.choice(self._hosts)
        address = self._queue.chance.choice(host.network.components("scheduler"))
        self._queue.note("client", verb, name, body.decode())
        Call(self._queue, host, address, AskSchedules(verb=verb, name=name, body=body), lambda answer: None)
