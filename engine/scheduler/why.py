"""Collects from the store and the other hosts the facts that explain why a job is not running; see `why.facts`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from jobyard.engine.config import Settings
from jobyard.engine.errors import NotFound, StoreUnavailable
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.store.port import Count, Served, Store
from jobyard.engine.tasks.catalog import Catalog, read_catalog
from jobyard.engine.why.facts import Facts, HostSeen, ProcessReport
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
        holders: tuple[str, ...] = ()
        hosts = (self._here(), *self._others())
        try:
            job = self._store.find([job_id], whole=False)[0]
            if job is None:
                raise NotFound("not_found", f"there is no job {job_id}")
            ahead = self._ahead(job, hosts)
            holders = self._slot_holders(job)
        except StoreUnavailable as unavailable:
            fault = unavailable.message
        return Facts(
            job_id=job_id, now=self._world.now(), boot=self._owner.boot, report=report, hosts=hosts, job=job, fault=fault,
            slot_holders=holders, ahead=ahead.count, is_exact=ahead.is_exact, max_lost=self._settings.max_lost,
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

    def _slot_holders(self, job: Job) -> tuple[str, ...]:
        """Who keeps a job of a schedule from being claimed."""
        if job.lane is None or job.slot is not None or job.status is not Status.PENDING or job.schedule is None:
            return ()
        return tuple(other.job_id for other in self._store.schedules.living(job.schedule) if other.slot == job.lane)

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
