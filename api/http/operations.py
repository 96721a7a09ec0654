"""What OpenAPI says of a route for people and generators beyond the table of routes: its id, its tag, a description, examples.

A route that is not in `OPERATIONS` gets its id from its method and path: `DELETE /api/hooks/<name>` is `deleteHook`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TAGS: Mapping[str, str] = {
    "jobs": "Submit jobs, look at them, cancel and retry them",
    "bulk": "Change all jobs that a filter selects, step by step",
    "tasks": "What can be submitted",
    "workers": "Run jobs in any language, over HTTP",
    "schedules": "Make jobs at fire times: by cron expressions or at intervals",
    "hooks": "Be told of what happens to jobs: webhooks signed as Standard Webhooks 1.0",
    "limits": "Say how many jobs may run or begin, and pause them",
    "groups": "Jobs that share a name, to be waited for together",
    "service": "How the service is doing",
    "dashboard": "The dashboard and its files",
}
SINGULAR: Mapping[str, str] = {"leases": "lease", "queries": "query"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row."""

    id: str
    tag: str
    description: str = ""


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/api/jobs"): Operation(
        id="submitJob", tag="jobs",
        description="A 201 means that the job is on disk. Send an `Idempotency-Key` to be able to repeat the request: the same "
        "request with the same key answers 200 with the first job's id.",
    ),
    ("POST", "/api/jobs/batch"): Operation(
        id="submitJobs", tag="jobs", description="As one JSON document, or as one job per line (`application/x-ndjson`)."
    ),
    ("GET", "/api/jobs"): Operation(
        id="listJobs", tag="jobs", description="The `Link` header has the URL of the next page, relative to this one's."
    ),
    ("GET", "/jobs"): Operation(id="listJobsByShortPath", tag="jobs", description="The same as `GET /api/jobs`."),
    ("GET", "/api/jobs/count"): Operation(id="countJobs", tag="jobs"),
    ("POST", "/api/jobs/cancel"): Operation(id="cancelJobs", tag="bulk"),
    ("POST", "/api/jobs/retry"): Operation(id="retryJobs", tag="bulk"),
    ("POST", "/api/jobs/delete"): Operation(id="deleteJobs", tag="bulk"),
    ("GET", "/job"): Operation(id="getJobByQuery", tag="jobs", description="The same as `GET /api/jobs/{job_id}`."),
    ("GET", "/api/jobs/<job_id>"): Operation(
        id="getJob", tag="jobs", description="With `wait_s`, the answer comes when the job has ended, or the time is up."
    ),
    ("GET", "/api/jobs/<job_id>/executions"): Operation(id="listExecutions", tag="jobs"),
    ("GET", "/api/jobs/<job_id>/logs"): Operation(id="getJobLogs", tag="jobs"),
    ("GET", "/api/jobs/<job_id>/why"): Operation(id="explainJob", tag="jobs"),
    ("GET", "/api/jobs/<job_id>/graph"): Operation(id="getGraph", tag="jobs"),
    ("GET", "/api/groups"): Operation(id="listGroups", tag="groups"),
    ("GET", "/api/groups/<group>"): Operation(id="getGroup", tag="groups"),
    ("POST", "/api/jobs/<job_id>/cancel"): Operation(
        id="cancelJob", tag="jobs",
        description="A job that runs gets an exception in its task; it is `cancelled` when that has ended.",
    ),
    ("POST", "/api/jobs/<job_id>/retry"): Operation(id="retryJob", tag="jobs"),
    ("POST", "/api/jobs/<job_id>/run"): Operation(id="runJob", tag="jobs"),
    ("PUT", "/api/jobs/<job_id>/tags"): Operation(id="putJobTags", tag="jobs"),
    ("DELETE", "/api/jobs/<job_id>"): Operation(id="deleteJob", tag="jobs"),
    ("GET", "/api/failures"): Operation(id="listFailures", tag="jobs"),
    ("GET", "/api/tasks"): Operation(id="listTasks", tag="tasks"),
    ("PUT", "/api/tasks/<task>"): Operation(id="putTask", tag="workers"),
    ("DELETE", "/api/tasks/<task>"): Operation(id="deleteTask", tag="workers"),
    ("POST", "/api/leases"): Operation(
        id="createLease", tag="workers",
        description="A job's id and epoch are the token of its lease. A lease that is not extended in time ends: the attempt is "
        "lost, and the job runs again.",
    ),
    ("POST", "/api/leases/settle"): Operation(
        id="settleLeases", tag="workers", description="Each item has its own answer, in the order of the request."
    ),
    ("POST", "/api/jobs/<job_id>/extend"): Operation(id="extendLease", tag="workers"),
    ("POST", "/api/jobs/<job_id>/complete"): Operation(id="completeJob", tag="workers"),
    ("POST", "/api/jobs/<job_id>/fail"): Operation(id="failJob", tag="workers"),
    ("POST", "/api/jobs/<job_id>/release"): Operation(id="releaseJob", tag="workers"),
    ("POST", "/api/schedules/preview"): Operation(id="previewSchedule", tag="schedules"),
    ("PUT", "/api/schedules/<schedule>"): Operation(
        id="putSchedule", tag="schedules",
        description='For example `{"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "job": {"task": "echo"}}`. '
        "Exactly one of `cron` and `every_s` is given.",
    ),
    ("GET", "/health"): Operation(id="getHealth", tag="service", description="Needs no token."),
    ("GET", "/stats"): Operation(id="getStats", tag="service"),
    ("GET", "/metrics"): Operation(id="getMetrics", tag="service"),
    ("GET", "/api/history"): Operation(id="getHistory", tag="service"),
    ("GET", "/openapi.json"): Operation(id="getOpenApi", tag="service"),
    ("GET", "/"): Operation(id="getDashboard", tag="dashboard"),
    ("GET", "/ui/<name>"): Operation(id="getDashboardFile", tag="dashboard"),
}  # fmt: skip

A_JOB_ID = "6b04af6d98fafe38214255d4"
A_TIME = "2026-01-04T02:04:20.123Z"
EXAMPLES: Mapping[str, object] = {
    "NewJob": {"task": "echo", "payload": {"to": "ann@example.org"}, "priority": "high", "delay_s": 60},
    "NewBatch": {"jobs": [{"payload": 1}, {"payload": 2, "queue": "reports"}]},
    "Selection": {"filter": {"task": "echo", "status": "failed"}, "limit": 500},
    "Accepted": {"job_id": A_JOB_ID, "status": "pending", "message": "job accepted"},
    "AcceptedBatch": {"job_ids": [A_JOB_ID]},
    "Step": {"changed": 500, "skipped": 0, "cursor": None},
    "Count": {"count": 17, "is_exact": True},
    "Job": {
        "job_id": A_JOB_ID, "task": "echo", "payload": {"to": "ann@example.org"}, "queue": "default", "priority": 9,
        "status": "completed", "scheduled_at": A_TIME, "created_at": A_TIME, "updated_at": A_TIME, "claimed_by": None,
        "claimed_at": A_TIME, "queued_at": A_TIME, "locked_by": None, "locked_until": None, "last_run_at": A_TIME,
        "next_run_at": None, "finished_at": A_TIME, "attempt": 1, "epoch": 3, "lost_count": 0, "retry_count": 0,
        "max_retries": 5, "timeout_s": 3600, "idempotency_key": None, "result": {"to": "ann@example.org"}, "error": None,
        "unique_key": None, "limit": None, "after": None, "run_if": None, "ref": None, "group": None, "schedule": None,
        "fire_at": None, "expires_s": None, "expires_at": None, "cancelled_because": None, "traceparent": None,
        "tracestate": None, "tags": [],
    },
    "Ran": {"job_id": A_JOB_ID}, "Preview": {"next_fires": [A_TIME]},
    "Error": {
        "error": {
            "code": "invalid_field", "message": 'priority must be an integer from 0 to 9, not "urgent"', "field": "priority",
        },
    },
}  # fmt: skip
"""By schema."""


def operation_of(method: str, path: str) -> Operation:
    """The row of a route, or one made from its method and path."""
    known = OPERATIONS.get((method, path))
    if known is not None:
        return known
    words = [word for word in path.strip("/").split("/") if word != "api"]
    names = [word for word in words if not word.startswith("<")]
    if not names:
        raise ValueError(f"{method} {path} needs a row in OPERATIONS")
    return Operation(id=_derived_id(method, words, names), tag=names[0])


def _derived_id(method: str, words: list[str], names: list[str]) -> str:
    """`GET /api/hooks` is listHooks, `PUT /api/hooks/<name>` putHook, `POST /api/hooks/<name>/test` testHook."""
    first, ends_with_one = names[0], words[-1].startswith("<")
    if len(names) == 1:
        verb = {"GET": "get" if ends_with_one else "list", "POST": "create"}.get(method, method.lower())
        return verb + _title(_one(first) if ends_with_one or method != "GET" else first)
    if method == "POST":
        return _title(names[-1], is_first=True) + _title(_one(first) if len(words) > len(names) else first)
    return {"GET": "get"}.get(method, method.lower()) + _title(_one(first)) + "".join(map(_title, names[1:]))


def _one(name: str) -> str:
    return SINGULAR.get(name, name.removesuffix("s"))


def _title(name: str, *, is_first: bool = False) -> str:
    parts = re.split(r"[^A-Za-z0-9]+", name)
    text = "".join(part[:1].upper() + part[1:] for part in parts)
    return text[:1].lower() + text[1:] if is_first else text
