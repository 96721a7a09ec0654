"""The check of `doctor` on schedules: which are paused, and which code has stored and no module declares any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobyard.api.commands.findings import Finding, fine, warning
from jobyard.engine.client.sync_client import Client
from jobyard.engine.config import Settings
from jobyard.engine.databases.open import mongo
from jobyard.engine.schedules.schedule import CODE
from jobyard.engine.store.port import HostHeartbeat
from jobyard.engine.tasks.schedule_catalog import ScheduleCatalog
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

MOST_NAMES = 10
SILENT_LEASES = 3


def look_at_schedules(client: Client, settings: Settings) -> Iterator[Finding]:
    """Where it is not known what a living host declares, nothing is said of what nobody does."""
    schedules = client.ask("GET", "/api/schedules")
    by_code = [one["name"] for one in schedules if one["origin"] == CODE]
    declared = _declared(settings) if by_code else None
    if declared is not None and (stale := [name for name in by_code if name not in declared]):
        words = f"{', '.join(stale[:MOST_NAMES])}: stored by a task module that no longer declares them, and still firing"
        yield warning("schedules", words, "delete them with `jobyard schedule delete NAME`, or declare them again")
    paused = sum(one["paused"] is not None for one in schedules)
    if schedules:
        yield fine("schedules", f"{len(schedules)}, of which {paused} are paused")


def _declared(settings: Settings) -> set[str] | None:
    """What this host, or on a shared database any living host, declares; None: not known."""
    if settings.mongo_uri is None:
        names = ScheduleCatalog(RunDir(settings.data_dir)).names()
        return None if names is None else set(names)
    store = mongo().open_store(settings, holds=False, origin="doctor")
    try:
        return declared_by(store.hosts(), World().now())
    finally:
        store.close()


def declared_by(hosts: list[HostHeartbeat], now: datetime) -> set[str] | None:
    """What the living hosts declare; None if that is not known of one of them, or none lives."""
    living = [one for one in hosts if now - one.seen_at < SILENT_LEASES * timedelta(seconds=one.lease_s)]
    known = [one.schedules for one in living if one.schedules is not None]
    return {name for names in known for name in names} if living and len(known) == len(living) else None
