"""Collects from the store and the other hosts the facts that explain why a job is not running; see `why.facts`."""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.config import Settings
from jobyard.engine.errors import NotFound, StoreUnavailable
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.store.port import Count, Served, Store
from jobyard.engine.tasks.catalog import Catalog, read_catalog
from jobyard.engine.why.facts import Facts, HostSeen, Missing, ProcessReport
from jobyard.engine.world import World

NOBODY = Count(count=0)


class FactCollector:
    """The fact collector of one scheduler."""

    def __init__(
        self, *, owner: Owner, settings: Settings, world: World, store: Store, catalog: Catalog, other_hosts: OtherHosts
    ) -> None:  # fmt: skip
        self._owner = owner
        self._settings = settings
        self._world = world
        self._store = store
        self._catalog = catalog
        self._other_hosts = other_hosts

    def facts(self, job_id: str, report: ProcessReport) -> Facts:
        """All facts; raises `NotFound`. An unreachable database is a fact, too."""
        job, ahead, fault = None, NOBODY, None
        holders: tuple[str, ...] = ()
        waits_for: tuple[Missing, ...] = ()
        hosts = (self._here(), *self._others())
        try:
            job = self._store.find([job_id], whole=False)[0]
            if job is None:
                raise NotFound("not_found", f"there is no job {job_id}")
            ahead = self._ahead(job, hosts)
            holders = self._slot_holders(job)
            waits_for = self._waits_for(job)
        except StoreUnavailable as unavailable:
            fault = unavailable.message
        return Facts(
            job_id=job_id, now=self._world.now(), boot=self._owner.boot, report=report, hosts=hosts, job=job, fault=fault,
            slot_holders=holders, waits_for=waits_for, ahead=ahead.count, is_exact=ahead.is_exact, max_lost=self._settings.max_lost,
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

    def _slot_holders(self, job: Job) -> tuple[str, ...]:
        """Who keeps a job of a schedule from being claimed."""
        if job.lane is None or job.slot is not None or job.status is not Status.PENDING or job.schedule is None:
            return ()
        return tuple(other.job_id for other in self._store.schedules.living(job.schedule) if other.slot == job.lane)

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


def _all_of(named: list[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The union; None, which means any, if one of them is None."""
    if any(names is None for names in named):
        return None
    return tuple(sorted({name for names in named if names is not None for name in names}))
