"""The client's values: the fields of a new job, and jobs, executions and health as the service shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, ParamSpec, Protocol, TypedDict

from jobyard.engine.errors import JobFailed
from jobyard.engine.jobs.job import ExecutionStatus, Status

P = ParamSpec("P")
FINISHED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Named(Protocol):
    """Anything with a task's name, such as what `@task` returns."""

    @property
    def name(self) -> str:
        """The task's name."""


class WithParameters(Protocol[P]):
    """A task that knows its parameters: what `@task` returns, and what its `options` does."""

    @property
    def name(self) -> str:
        """The task's name."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """What its function takes."""

    def new_job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the job that `submit(*args, **kwargs)` submits; raises `TypeError` when they do not fit the parameters."""


class JobOptions(TypedDict, total=False):
    """The fields of a new job besides task and payload; None is the same as not given."""

    queue: str | None
    priority: int | Literal["low", "normal", "high"] | None
    scheduled_at: datetime | str | None
    delay_s: float | None
    max_retries: int | None
    timeout_s: float | None
    expires_s: float | None
    idempotency_key: str | None
    unique: bool | str | Mapping[str, Any] | None
    limit: str | Sequence[str] | None
    after: Sequence[str | Mapping[str, str]] | None
    run_if: Literal["completed", "ended", "failed"] | None
    group: str | None
    ref: str | None
    tags: Sequence[str] | None


class RetryEdits(TypedDict, total=False):
    """What a retry changes of a job besides: `payload`, where it is given, even None; the others where they are not None."""

    payload: Any
    delay_s: float | None
    max_retries: int | None
    timeout_s: float | None


class NewJob(JobOptions, total=False):
    """A new job of a batch."""

    task: str | Named
    payload: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when the service answered. Times are aware datetimes; payload and result are decoded."""

    job_id: str
    task: str
    payload: Any
    queue: str
    priority: int
    status: Status
    scheduled_at: datetime
    created_at: datetime
    updated_at: datetime
    claimed_by: str | None
    claimed_at: datetime | None
    queued_at: datetime | None
    locked_by: str | None
    locked_until: datetime | None
    last_run_at: datetime | None
    next_run_at: datetime | None
    finished_at: datetime | None
    attempt: int
    epoch: int
    lost_count: int
    retry_count: int
    max_retries: int
    timeout_s: float
    idempotency_key: str | None
    result: Any
    error: str | None
    unique_key: str | None = None
    limit: tuple[str, ...] | None = None
    after: tuple[Mapping[str, str | None], ...] | None = None
    run_if: str | None = None
    ref: str | None = None
    group: str | None = None
    schedule: str | None = None
    fire_at: datetime | None = None
    expires_s: float | None = None
    expires_at: datetime | None = None
    cancelled_because: Mapping[str, str] | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def is_finished(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in FINISHED

    def raise_for_status(self) -> Job:
        """The job itself; raises `JobFailed` when it failed or was cancelled."""
        if self.is_finished and self.status is not Status.COMPLETED:
            raise JobFailed(self.status.value, f"job {self.job_id} ({self.task}) is {self.status}: {self.error}", "job_id")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One attempt at a job."""

    execution_id: str
    job_id: str
    attempt: int
    worker_id: str
    status: ExecutionStatus
    started_at: datetime
    finished_at: datetime | None
    duration_ms: int | None
    error_message: str | None
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The service's health: overall, the components that are down, and what each component reports."""

    status: str
    down: tuple[str, ...] = ()
    components: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Whether every component is healthy."""
        return self.status == "healthy"
