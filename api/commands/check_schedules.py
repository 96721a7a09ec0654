"""The check of `doctor` on schedules: which are paused, and which code has stored and no module declares any more."""

from __future__ import annotations

from collections.abc import Iterator

from jobyard.api.commands.findings import Finding, fine, warning
from jobyard.engine.client.sync_client import Client
from jobyard.engine.config import Settings
from jobyard.engine.schedules.schedule import CODE
from jobyard.engine.tasks.schedule_catalog import ScheduleCatalog
from jobyard.engine.wire.run_dir import RunDir

MOST_NAMES = 10


def look_at_schedules(client: Client, settings: Settings) -> Iterator[Finding]:
    """What other hosts declare is not known here, so where there may be some, nothing is said of what this one does not."""
    schedules = client.ask("GET", "/api/schedules")
    declared = ScheduleCatalog(RunDir(settings.data_dir)).news()
    if declared is not None and settings.mongo_uri is None:
        stale = [one["name"] for one in schedules if one["origin"] == CODE and one["name"] not in declared]
        if stale:
            words = f"{', '.join(stale[:MOST_NAMES])}: stored by a task module that no longer declares them, and still firing"
            yield warning("schedules", words, "delete them with `jobyard schedule delete NAME`, or declare them again")
    paused = sum(one["paused"] is not None for one in schedules)
    if schedules:
        yield fine("schedules", f"{len(schedules)}, of which {paused} are paused")
