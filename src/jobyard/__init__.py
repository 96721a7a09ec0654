"""The public API: `from jobyard import task, current_job, Client`, and every error that these raise.

The clients and their errors are imported on first use, so that a process that only runs tasks does not load httpx.
"""

import importlib
from typing import TYPE_CHECKING

from jobyard.engine.client_import import import_client
from jobyard.engine.jobs.unsent import UnsentJob, Workflow, chain, group
from jobyard.engine.tasks.context import JobCancelled, JobReleased, JobTimeout, Retry, Unrecoverable, current_job
from jobyard.engine.tasks.declared_limits import limit
from jobyard.engine.tasks.declared_schedules import schedule
from jobyard.engine.tasks.hooks import around_job, on_child_start, on_child_stop
from jobyard.engine.tasks.registry import task

if TYPE_CHECKING:
    __version__: str
    from jobyard.engine.client.async_client import AsyncClient
    from jobyard.engine.client.default import use_client
    from jobyard.engine.client.handles import AsyncJobHandle, JobHandle
    from jobyard.engine.client.sync_client import Client
    from jobyard.engine.client.values import Execution, Health, Job, NewJob
    from jobyard.engine.errors import (
        BrokenAnswer,
        Conflict,
        InvalidRequest,
        JobFailed,
        JobyardError,
        NotFinished,
        NotFound,
        Rejected,
        TooLarge,
        Unauthorized,
        Unavailable,
        Unreachable,
    )

__all__ = [
    "AsyncClient", "AsyncJobHandle", "BrokenAnswer", "Client", "Conflict", "Execution", "Health", "InvalidRequest", "Job",
    "JobCancelled", "JobFailed", "JobHandle", "JobReleased", "JobTimeout", "JobyardError", "NewJob", "NotFinished", "NotFound",
    "Rejected", "Retry", "TooLarge", "Unauthorized", "Unavailable", "Unreachable", "Unrecoverable", "UnsentJob", "Workflow",
    "around_job", "chain", "current_job", "group", "limit", "on_child_start", "on_child_stop", "schedule", "task", "use_client",
]  # fmt: skip

_IN_CLIENT = {
    "AsyncClient": "async_client", "AsyncJobHandle": "handles", "Client": "sync_client", "Execution": "values", "Health": "values",
    "Job": "values", "JobHandle": "handles", "NewJob": "values", "use_client": "default",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Import the clients, their value types and the errors on first use; `__version__` is the version of this package."""
    if name == "__version__":
        return importlib.import_module("jobyard.engine.version").version()
    if name not in __all__:
        raise AttributeError(f"module 'jobyard' has no attribute {name!r}")
    module = import_client(_IN_CLIENT[name]) if name in _IN_CLIENT else importlib.import_module("jobyard.engine.errors")
    return getattr(module, name)
