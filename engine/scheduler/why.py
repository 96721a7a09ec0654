"""Collects from the store and the other hosts the facts that explain why a job is not running; see `why.facts`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from jobyard.engine.config import Settings
from jobyard.engine.errors import NotFound, StoreUnavailable
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.limits.limit import Limit
from jobyard.engine.limits.rules import Obstacle, is_implicit, is_kept, lane_for, obstacle, parts_of
from jobyard.engine.store.limit_port import PartHolders
from jobyard.engine.store.port import Count, Served, Store
from jobyard.engine.tasks.catalog import Catalog, read_catalog
from jobyard.engine.why.facts import Facts, HostSeen, Missing, ObstacleSeen, ProcessReport
from jobyard.engine.world import World

NOBODY = Count(count=0)


class FactCollector:
    """The fact collector of one scheduler."""

    def __init__(
        self, *, owner: Owner, settings: Settings, world: World, store: Store, catalog: Catalog, other_hosts: OtherHosts,
        is_declared: Callable[[str], bool],
    ) -> None:  # fmt: skip
        """`is_declared`: whether HTTP workers run the task."""
        self._is_declared = is_declared
        self._owner = owner
        self._settings = settings
        self._world = world
        self._store = store
        self._catalog = catalog
        self._other_hosts = other_hosts

    def facts(self, job_id: str, report: ProcessReport) -> Facts:
        """All facts; raises `NotFound`. An unreachable database is a fact, too."""
        job, ahead, fault = None, NOBODY, None
        obstacles: tuple[ObstacleSeen, ...] = ()
        waits_for: tuple[Missing, ...] = ()
        hosts = (self._here(), *self._others())
        try:
            job = self._store.find([job_id], whole=False)[0]
            if job is None:
                raise NotFound("not_found", f"there is no job {job_id}")
            ahead = self._ahead(job, hosts)
            obstacles = self._obstacles(job)
            waits_for = self._waits_for(job)
        except StoreUnavailable as unavailable:
            fault = unavailable.message
        return Facts(
            job_id=job_id, now=self._world.now(), boot=self._owner.boot, report=report, hosts=hosts, job=job, fault=fault,
            obstacles=obstacles, waits_for=waits_for, ahead=ahead.count, is_exact=ahead.is_exact, max_lost=self._settings.max_lost,
            is_for_http_workers=job is not None and self._is_declared(job.task),
        )  # fmt: skip

    def _ahead(self, job: Job, hosts: tuple[HostSeen, ...]) -> Count:
        """Counts only jobs that the hosts able to run this one can run; no other jobs delay it."""
        now = self._world.now()
        if job.status is not Status.PENDING or job.scheduled_at > now + timedelta(milliseconds=1):
            return NOBODY
        able = [host for host in hosts if host.is_alive and host.serves(job)]
        if not able:
            return NOBODY
        served = Served(tasks=_all_of([host.tasks for host in able]), queues=_all_of([host.queues for host in able]))
        return self._store.count_ahead(job, now=now, served=served)

    def _obstacles(self, job: Job) -> tuple[ObstacleSeen, ...]:
        """What stands against its begin in each part of its limits, but for a slot of a schedule that it has itself."""
        if job.status is not Status.PENDING:
            return ()
        limits = {limit.name: limit for limit in self._store.limits.all()}
        lane = lane_for(job, [name for name in limits if is_implicit(name)])
        parts = () if lane is None else parts_of(lane)
        states = self._store.limits.parts(parts) if parts else {}
        return tuple(
            _seen(found, limits.get(found.limit), states[part])
            for part in parts
            if not (is_kept(part) and job.job_id in states[part].job_ids)
            and (found := obstacle((part,), limits=limits, state=lambda part: states[part].state, now=self._world.now()))
        )

    def _waits_for(self, job: Job) -> tuple[Missing, ...]:
        """What a blocked job waits for."""
        if job.status is not Status.BLOCKED:
            return ()
        after, workflows = job.after or (), self._store.workflows
        standings = workflows.standings([one.job_id for one in after if one.job_id is not None])
        missing = [
            Missing(job_id=one.job_id, ref=one.ref, status=standings[one.job_id].status)
            for one in after
            if one.job_id in standings and standings[one.job_id].lives
        ]
        for name in [one.group for one in after if one.group is not None]:
            group = workflows.group(name)
            if group is not None and group.ended_at is None:
                missing.append(Missing(group=name, living=sum(n for status, n in group.counts.items() if status not in TERMINAL)))
        return tuple(missing)

    def _here(self) -> HostSeen:
        return HostSeen(
            host=self._owner.host, boot=self._owner.boot, tasks=tuple(self._catalog.options()), queues=self._settings.queues,
            lease_s=self._settings.lease_s,
        )  # fmt: skip

    def _others(self) -> list[HostSeen]:
        now = self._world.now()
        return [
            HostSeen(
                host=sign.host, boot=sign.boot, tasks=tuple(read_catalog(sign.tasks)), queues=sign.queues,
                lease_s=sign.lease_s,
                silent_s=max(0.0, (now - sign.seen_at).total_seconds()),
            )
            for sign in self._other_hosts.signs()
            if sign.boot != self._owner.boot
        ]  # fmt: skip


def _seen(found: Obstacle, limit: Limit | None, holders: PartHolders) -> ObstacleSeen:
    return ObstacleSeen(
        code=found.code, part=found.part, limit=found.limit, until=found.until,
        max_running=None if limit is None else limit.numbers.max_running, job_ids=holders.job_ids,
        paused=None if limit is None else limit.paused,
    )  # fmt: skip


def _all_of(named: list[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The union; None, which means any, if one of them is None."""
    if any(names is None for names in named):
        return None
    return tuple(sorted({name for names in named if names is not None for name in names}))
