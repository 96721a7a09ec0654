"""THE routes: one table of what is served where, which the apps and the OpenAPI document are built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobyard.api.http.query import COUNT_QUERY, FAILURES_QUERY, FIND_QUERY, FIRES_QUERY, LIST_QUERY, SHOW_QUERY

GATEWAY, SCHEDULER, QUEUE, WATCHER, WORKER = KINDS = ("gateway", "scheduler", "queue", "watcher", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row. `view`: `<views>.<method>`. `answer`: the body's schema. `errors`: other statuses, but for those of all routes."""

    method: str
    path: str
    view: str
    kinds: tuple[str, ...]
    summary: str
    answer: str
    query: tuple[str, ...] = ()
    body: str | None = None
    media_type: str = "application/json"
    status: int = 200
    errors: tuple[int, ...] = ()


_JOB_ERRORS = (400, 404, 503)

_SCHEDULE_ERRORS = (400, 404, 503)
_LEASE_ERRORS = (400, 404, 409, 413, 415, 503)

_LIMIT_ERRORS = (400, 404, 503)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST", path="/api/jobs", view="jobs.create", kinds=(GATEWAY,), body="job", status=201, answer="Accepted",
        errors=(200, 400, 409, 413, 415, 503), summary="Submit a job",
    ),
    Route(
        method="POST", path="/schedule", view="jobs.create", kinds=(SCHEDULER,), body="job", status=201, answer="Accepted",
        errors=(200, 400, 409, 413, 415, 503), summary="Submit a job to this scheduler",
    ),
    Route(
        method="POST", path="/api/jobs/batch", view="jobs.create_batch", kinds=(GATEWAY,), body="batch", status=201,
        answer="AcceptedBatch", errors=(200, 400, 409, 413, 415, 503), summary="Submit many jobs: all are stored, or none",
    ),
    Route(
        method="GET", path="/jobs", view="jobs.list", kinds=(GATEWAY, SCHEDULER), query=LIST_QUERY, answer="Jobs",
        errors=(400, 503), summary="Jobs, newest first; a page may be short or even empty and still have a next link",
    ),
    Route(
        method="GET", path="/api/jobs", view="jobs.list", kinds=(GATEWAY,), query=LIST_QUERY, answer="Jobs", errors=(400, 503),
        summary="Jobs, newest first",
    ),
    Route(
        method="GET", path="/api/jobs/count", view="jobs.count", kinds=(GATEWAY,), query=COUNT_QUERY, answer="Count",
        errors=(400, 503), summary="The number of jobs; a lower bound when there are too many to count quickly",
    ),
    Route(
        method="POST", path="/api/jobs/cancel", view="jobs.cancel_many", kinds=(GATEWAY,), body="selection", answer="Step",
        errors=(400, 413, 415, 503), summary="Cancel the next jobs that a filter selects; repeat with the cursor until it is null",
    ),
    Route(
        method="POST", path="/api/jobs/retry", view="jobs.retry_many", kinds=(GATEWAY,), body="retry_selection", answer="Step",
        errors=(400, 413, 415, 503),
        summary="Retry the next jobs that a filter selects, due at once or spread evenly; repeat with the cursor until it is null",
    ),
    Route(
        method="POST", path="/api/jobs/delete", view="jobs.delete_many", kinds=(GATEWAY,), body="selection", answer="Step",
        errors=(400, 413, 415, 503),
        summary="Delete those of the next jobs that a filter selects that have ended; repeat with the cursor until it is null",
    ),
    Route(
        method="GET", path="/job", view="jobs.find", kinds=(GATEWAY, SCHEDULER), query=FIND_QUERY, answer="Job",
        errors=_JOB_ERRORS, summary="One job; wait_s waits for its end",
    ),
    Route(
        method="GET", path="/api/jobs/<job_id>", view="jobs.show", kinds=(GATEWAY,), query=SHOW_QUERY, answer="Job",
        errors=_JOB_ERRORS, summary="One job; wait_s waits for its end",
    ),
    Route(
        method="DELETE", path="/api/jobs/<job_id>", view="jobs.delete", kinds=(GATEWAY,), answer="Nothing", status=204,
        errors=(*_JOB_ERRORS, 409), summary="Delete a job that has ended, with all that is stored about it",
    ),
    Route(
        method="PUT", path="/api/jobs/<job_id>/tags", view="jobs.tag", kinds=(GATEWAY,), body="tags", answer="Job",
        errors=(*_JOB_ERRORS, 413, 415), summary="Give a job these tags instead of its own, whatever its status",
    ),
    Route(
        method="GET", path="/api/jobs/<job_id>/executions", view="jobs.executions", kinds=(GATEWAY,), answer="Executions",
        errors=_JOB_ERRORS, summary="The attempts at a job, oldest first; at most the latest 4 MiB or so",
    ),
    Route(
        method="GET", path="/api/jobs/<job_id>/logs", view="logs.show", kinds=(GATEWAY,), answer="JobLogs", errors=_JOB_ERRORS,
        summary="The last 64 KiB of output and the last progress of each attempt, the running one included, oldest first; "
        "at most the latest 1 MiB or so",
    ),
    Route(
        method="GET", path="/api/jobs/<job_id>/why", view="gateway.why", kinds=(GATEWAY,), answer="Why", errors=_JOB_ERRORS,
        summary="Why a job is not running, the most decisive reason first; an unavailable database comes before all others",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/cancel", view="jobs.cancel", kinds=(GATEWAY,), answer="Job",
        errors=(*_JOB_ERRORS, 409), summary="Cancel a job: at once, or, if it is running, by stopping its task",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/retry", view="jobs.retry", kinds=(GATEWAY,), body="retry", answer="Job",
        errors=(*_JOB_ERRORS, 409, 413, 415),
        summary="Give a failed or cancelled job a fresh set of retries, and what the body says; it is due at once or after delay_s",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/run", view="jobs.run", kinds=(GATEWAY,), answer="Job", errors=(*_JOB_ERRORS, 409),
        summary="Make a pending job due now, whether it was scheduled for later or waits for a retry",
    ),
    Route(
        method="GET", path="/api/failures", view="jobs.failures", kinds=(GATEWAY,), query=FAILURES_QUERY, answer="Failures",
        errors=(400, 503),
        summary="The failed jobs by task and kind of error, the most frequent first: at most 100 groups of the newest 100,000",
    ),
    Route(
        method="GET", path="/api/jobs/<job_id>/graph", view="workflows.graph", kinds=(GATEWAY,), answer="Graph", errors=_JOB_ERRORS,
        summary="The jobs that wait for one another, directly or not, this one among them; at most 500, nearest first",
    ),
    Route(
        method="GET", path="/api/groups", view="workflows.groups", kinds=(GATEWAY,), answer="Groups", errors=(400, 503),
        summary="The 100 newest groups that live",
    ),
    Route(
        method="GET", path="/api/groups/<group>", view="workflows.group", kinds=(GATEWAY,), answer="Group", errors=_JOB_ERRORS,
        summary="One group: its jobs by status, and the jobs that wait for it",
    ),
    Route(
        method="GET", path="/api/schedules", view="schedules.list", kinds=(GATEWAY,), answer="Schedules", errors=(400, 503),
        summary="All schedules, by name",
    ),
    Route(
        method="POST", path="/api/schedules/preview", view="schedules.preview", kinds=(GATEWAY,), body="schedule", answer="Preview",
        errors=(400, 413, 415, 503), summary="When a schedule would fire; stores nothing",
    ),
    Route(
        method="PUT", path="/api/schedules/<schedule>", view="schedules.put", kinds=(GATEWAY,), body="schedule", answer="Schedule",
        status=201, errors=(200, 400, 413, 415, 503), summary="Make or change a schedule; the same again changes nothing",
    ),
    Route(
        method="GET", path="/api/schedules/<schedule>", view="schedules.show", kinds=(GATEWAY,), answer="Schedule",
        errors=_SCHEDULE_ERRORS, summary="One schedule, with its next fire times",
    ),
    Route(
        method="DELETE", path="/api/schedules/<schedule>", view="schedules.delete", kinds=(GATEWAY,), answer="Nothing", status=204,
        errors=_SCHEDULE_ERRORS, summary="Remove a schedule; its jobs stay",
    ),
    Route(
        method="POST", path="/api/schedules/<schedule>/pause", view="schedules.pause", kinds=(GATEWAY,), body="pause",
        answer="Schedule", errors=(*_SCHEDULE_ERRORS, 413, 415),
        summary="Make a schedule fire no more; the fires of a pause are not made up for",
    ),
    Route(
        method="POST", path="/api/schedules/<schedule>/resume", view="schedules.resume", kinds=(GATEWAY,), body="nothing",
        answer="Schedule", errors=(*_SCHEDULE_ERRORS, 413, 415), summary="Let a paused schedule fire again",
    ),
    Route(
        method="POST", path="/api/schedules/<schedule>/run", view="schedules.run", kinds=(GATEWAY,), body="nothing", answer="Ran",
        status=201, errors=(*_SCHEDULE_ERRORS, 200, 409, 413, 415), summary="Make a schedule's job now, besides its fires",
    ),
    Route(
        method="GET", path="/api/schedules/<schedule>/fires", view="schedules.fires", kinds=(GATEWAY,), query=FIRES_QUERY,
        answer="Times", errors=_SCHEDULE_ERRORS, summary="A schedule's fire times",
    ),
    Route(
        method="POST", path="/api/schedules/<schedule>/backfill", view="schedules.backfill", kinds=(GATEWAY,), body="backfill",
        answer="Backfilled", status=201, errors=(*_SCHEDULE_ERRORS, 200, 413, 415),
        summary="Make the jobs of past fire times that have none, at most 1,000",
    ),
    Route(
        method="GET", path="/api/limits", view="limits.list", kinds=(GATEWAY,), answer="Limits", errors=(400, 503),
        summary="All limits, by name, without their partitions",
    ),
    Route(
        method="PUT", path="/api/limits/<limit>", view="limits.put", kinds=(GATEWAY,), body="limit", answer="Limit", status=201,
        errors=(200, *_LIMIT_ERRORS, 413, 415),
        summary="Make or change a limit; new numbers hold from the next begin, and stop nobody who runs",
    ),
    Route(
        method="GET", path="/api/limits/<limit>", view="limits.show", kinds=(GATEWAY,), answer="Limit", errors=_LIMIT_ERRORS,
        summary="One limit, with its fullest partitions",
    ),
    Route(
        method="DELETE", path="/api/limits/<limit>", view="limits.delete", kinds=(GATEWAY,), answer="Nothing", status=204,
        errors=_LIMIT_ERRORS, summary="Remove a limit: what waited for it may begin",
    ),
    Route(
        method="POST", path="/api/limits/<limit>/pause", view="limits.pause", kinds=(GATEWAY,), body="pause_limit",
        answer="Limit", errors=(*_LIMIT_ERRORS, 413, 415),
        summary="Let no job of a limit begin until it is resumed, or for a time; makes the limit if there is none",
    ),
    Route(
        method="POST", path="/api/limits/<limit>/resume", view="limits.resume", kinds=(GATEWAY,), body="nothing", answer="Limit",
        errors=(*_LIMIT_ERRORS, 413, 415), summary="Let the jobs of a paused limit begin again",
    ),
    Route(
        method="POST", path="/api/limits/<limit>/hold", view="limits.hold", kinds=(GATEWAY,), body="hold", answer="Limit",
        errors=(*_LIMIT_ERRORS, 413, 415), summary="Let no job of a limit begin for so many seconds, as after a 429",
    ),
    Route(
        method="GET", path="/api/tasks", view="jobs.tasks", kinds=(GATEWAY,), answer="Tasks", errors=(400, 503),
        summary="The registered tasks of all hosts, by name, with the defaults of their jobs",
    ),
    Route(method="GET", path="/api/hooks", view="hooks.list", kinds=(GATEWAY,), answer="Hooks", errors=(400, 503),
          summary="All hooks, by name"),
    Route(
        method="PUT", path="/api/hooks/<hook>", view="hooks.put", kinds=(GATEWAY,), body="hook", status=201, answer="Hook",
        errors=(200, 400, 413, 415, 503), summary="Make or change a hook; enables it again; a new one is answered with its secret",
    ),
    Route(
        method="GET", path="/api/hooks/<hook>", view="hooks.show", kinds=(GATEWAY,), answer="Hook", errors=(400, 404, 503),
        summary="One hook, without its secret",
    ),
    Route(
        method="DELETE", path="/api/hooks/<hook>", view="hooks.delete", kinds=(GATEWAY,), status=204, answer="Nothing",
        errors=(400, 404, 503), summary="Remove a hook; its deliveries end cancelled",
    ),
    Route(
        method="POST", path="/api/hooks/<hook>/test", view="hooks.test", kinds=(GATEWAY,), body="nothing", status=201,
        answer="Tested", errors=(400, 404, 413, 415, 503), summary="Deliver a test event",
    ),
    Route(
        method="POST", path="/api/hooks/<hook>/rotate", view="hooks.rotate", kinds=(GATEWAY,), body="nothing", answer="Hook",
        errors=(400, 404, 413, 415, 503), summary="Make a new secret; the old one signs along for 24 hours",
    ),
    Route(
        method="POST", path="/api/hooks/<hook>/replay", view="hooks.replay", kinds=(GATEWAY,), body="replay", status=201,
        answer="Replayed", errors=(200, 400, 404, 413, 415, 503), summary="Deliver the events of that time again",
    ),
    Route(
        method="PUT", path="/api/tasks/<task>", view="leases.declare", kinds=(GATEWAY,), body="task", status=201, answer="Task",
        errors=(200, 400, 409, 413, 415, 503), summary="Declare a task that HTTP workers run, or change it",
    ),
    Route(
        method="DELETE", path="/api/tasks/<task>", view="leases.remove", kinds=(GATEWAY,), status=204, answer="Nothing",
        errors=(400, 404, 409, 503), summary="Remove such a task, once all of its jobs have ended",
    ),
    Route(
        method="POST", path="/api/leases", view="leases.create", kinds=(GATEWAY,), body="lease", answer="Leases",
        errors=(400, 409, 413, 415, 503), summary="Lease due jobs to an HTTP worker; wait_s waits for the first",
    ),
    Route(
        method="POST", path="/api/leases/settle", view="leases.settle", kinds=(GATEWAY,), body="settle", answer="Settled",
        errors=(400, 413, 415, 503), summary="Complete, fail, release and extend many leases, in one commit",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/extend", view="leases.extend", kinds=(GATEWAY,), body="extend", answer="Extended",
        errors=_LEASE_ERRORS, summary="Keep a lease; the answer says whether cancellation was requested",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/complete", view="leases.complete", kinds=(GATEWAY,), body="complete", answer="Job",
        errors=_LEASE_ERRORS, summary="A leased job is done; the same again answers the same",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/fail", view="leases.fail", kinds=(GATEWAY,), body="fail", answer="Job",
        errors=_LEASE_ERRORS, summary="An attempt at a leased job failed: it is tried again, as for every task",
    ),
    Route(
        method="POST", path="/api/jobs/<job_id>/release", view="leases.release", kinds=(GATEWAY,), body="release", answer="Job",
        errors=_LEASE_ERRORS, summary="Give a leased job back: no attempt, no retry used",
    ),
    Route(
        method="GET", path="/health", view="gateway.health", kinds=(GATEWAY,), answer="Health", errors=(400, 503),
        summary="Whether every component is healthy",
    ),
    Route(
        method="GET", path="/stats", view="gateway.stats", kinds=(GATEWAY,), answer="Stats", errors=(400, 503),
        summary="Jobs by status, processes, and the counters of every component",
    ),
    Route(
        method="GET", path="/metrics", view="metrics.show", kinds=(GATEWAY,), answer="Text", media_type="text/plain",
        errors=(400, 503), summary="The counters of all components in the Prometheus text format",
    ),
    Route(
        method="GET", path="/api/history", view="history.show", kinds=(GATEWAY,), answer="History", errors=(400, 503),
        summary="The last sixty minutes of this host, oldest first, and the queue's depth by priority; the counts of a process "
        "are lost when it ends",
    ),
    Route(
        method="GET", path="/openapi.json", view="gateway.openapi", kinds=(GATEWAY,), answer="Document", errors=(400,),
        summary="This document",
    ),
    Route(
        method="GET", path="/", view="pages.index", kinds=(GATEWAY,), answer="Text", media_type="text/html", errors=(400, 406),
        summary="The dashboard; needs no token",
    ),
    Route(
        method="GET", path="/ui/<name>", view="pages.asset", kinds=(GATEWAY,), answer="Text", media_type="*/*", errors=(400, 404),
        summary="A file of the dashboard; needs no token",
    ),
    Route(
        method="GET", path="/health", view="component.health", kinds=(SCHEDULER, QUEUE, WATCHER, WORKER), answer="Health",
        errors=(400, 503), summary="Whether the component is healthy",
    ),
    Route(
        method="GET", path="/stats", view="component.stats", kinds=(SCHEDULER, QUEUE, WATCHER, WORKER), answer="Counters",
        errors=(400, 503), summary="The component's own counters",
    ),
    Route(
        method="GET", path="/queue", view="component.items", kinds=(QUEUE,), query=("limit",), answer="Queue", errors=(400, 503),
        summary="The tickets in the queue, in the order in which they will be handed out",
    ),
)  # fmt: skip


def routes_of(kind: str) -> Mapping[tuple[str, str], Route]:
    """The rows of one kind of component, by method and path."""
    return {(route.method, route.path): route for route in ROUTES if kind in route.kinds}
