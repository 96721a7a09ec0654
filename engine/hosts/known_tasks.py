"""Which tasks there are on any host, with the defaults of their jobs."""

from __future__ import annotations

from jobyard.engine.config import Settings
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.tasks.catalog import Catalog, defaults_of


class KnownTasks:
    """As one process knows them."""

    def __init__(self, settings: Settings, catalog: Catalog, other_hosts: OtherHosts) -> None:
        self._settings = settings
        self._catalog = catalog
        self._other_hosts = other_hosts

    def defaults(self) -> Defaults:
        """For new jobs; this host's own tasks take the place of other hosts' tasks of the same names."""
        return Defaults(
            max_retries=self._settings.max_retries, timeout_s=self._settings.job_timeout_s,
            tasks=defaults_of({**self._other_hosts.tasks(), **self._catalog.options()}),
        )  # fmt: skip
