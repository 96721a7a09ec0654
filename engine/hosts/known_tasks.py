"""Which tasks there are on any host, with the defaults of their jobs."""

from __future__ import annotations

from jobyard.engine.config import Settings
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.tasks.catalog import Catalog, defaults_of, read_declared


class KnownTasks:
    """As one process knows them."""

    def __init__(
        self, settings: Settings, catalog: Catalog, other_hosts: OtherHosts, http_tasks: NamedRows | None = None
    ) -> None:  # fmt: skip
        """`http_tasks`: those that HTTP workers run; None: there are none."""
        self._http_tasks = http_tasks
        self._settings = settings
        self._catalog = catalog
        self._other_hosts = other_hosts

    def defaults(self) -> Defaults:
        """For new jobs; this host's own tasks take the place of other hosts' tasks of the same names, and of HTTP workers'."""
        declared = {} if self._http_tasks is None else read_declared(self._http_tasks.all())
        return Defaults(
            max_retries=self._settings.max_retries, timeout_s=self._settings.job_timeout_s,
            tasks=defaults_of({**declared, **self._other_hosts.tasks(), **self._catalog.options()}),
        )  # fmt: skip
