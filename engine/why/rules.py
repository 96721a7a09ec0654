"""The rules that explain why a job is not running: facts in, reasons out. They perform no I/O and read no clock.

`RULES` are in order of presentation, the most decisive first: the database is unreachable; the job has ended or runs; its time has
not come; a needed component or host is missing; other jobs come first; and, if nothing blocks it, the job is about to start.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.jobs.job import CancelledBecause, Job, Status
from jobyard.engine.jobs.lifecycle import is_last_chance, is_terminal
from jobyard.engine.jobs.owners import http_worker, parse_owner
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.topology import QUEUE, WATCHER, WORKER
from jobyard.engine.why.facts import Facts, HostSeen, Missing, ObstacleSeen
from jobyard.engine.why.reason import Code, Reason
from jobyard.engine.words import counted

LONGEST_ERROR_CHARS = 300
ABSENT = timedelta(seconds=75)
"""An HTTP worker that has not asked for so long, a request's longest wait and a little more, is not there."""

MOST_NAMES = 20


def explain(facts: Facts) -> list[Reason]:
    """All reasons that apply; at least one."""
    return [reason for rule in RULES if (reason := rule(facts)) is not None] or [_about_to_start()]


def to_json(facts: Facts) -> bytes:
    """The reasons as clients see them; `status` is null if the database could not be read."""
    reasons = [{"code": reason.code, "message": reason.message, **reason.facts} for reason in explain(facts)]
    status = None if facts.job is None else facts.job.status
    return msgspec.json.encode({"job_id": facts.job_id, "status": status, "reasons": reasons})


def in_words(seconds: float) -> str:
    """A rounded duration such as `40 s`, `8 min`, `3 h` or `5 days`."""
    for name, length, enough in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < enough * length:
            return f"{round(seconds / length)} {name}"
    return f"{round(seconds / 86400):,} days"


# ---- the database is unreachable, or the job has ended or is running


def _database(facts: Facts) -> Reason | None:
    if facts.job is not None:
        return None
    words = f"the database cannot be read, and no job can start without it: {facts.fault}"
    return Reason(code=Code.DATABASE_UNAVAILABLE, message=words)


def _ended(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or not is_terminal(job):
        return None
    ago = f"{_since(facts, job.finished_at)} ago"
    words = {
        Status.COMPLETED: f"it completed {ago}, in attempt {job.attempt}",
        Status.FAILED: f"it failed for good {ago}, in attempt {job.attempt}: {_cut(job.error)}",
        Status.CANCELLED: f"it was cancelled {ago}, {f'in attempt {job.attempt}' if job.attempt else 'before it ever began'}",
    }
    because = job.cancelled_because if job.status is Status.CANCELLED else None
    if because is not None:
        words[Status.CANCELLED] += f": {_cause(because)}"
    told: dict[str, object] = {"finished_at": rfc3339(job.finished_at), "attempt": job.attempt}
    told |= {} if because is None else {"cancelled_because": msgspec.to_builtins(because)}
    return Reason(
        code=Code(job.status), message=words[job.status], facts=told | ({"error": _cut(job.error)} if job.error else {})
    )


def _cause(because: CancelledBecause) -> str:
    named = {"job": because.job_id, "group": because.group, "limit": because.limit, "schedule": because.schedule}
    return " ".join([because.reason.replace("_", " "), *(f"({what} {name})" for what, name in named.items() if name is not None)])


def _cancel_requested(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or job.status is not Status.RUNNING or job.cancel_requested_at is None:
        return None
    words = f"cancellation was requested {_since(facts, job.cancel_requested_at)} ago: the task is asked to stop, then ended"
    return Reason(code=Code.CANCEL_REQUESTED, message=words, facts={"since": rfc3339(job.cancel_requested_at)})


def _running(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or job.status is not Status.RUNNING or job.locked_by is None:
        return None
    if (worker := http_worker(job.locked_by)) is not None:
        return _leased(facts, job, worker)
    holder = parse_owner(job.locked_by)
    words = (
        f"it has been running for {_since(facts, job.last_run_at)} on {holder.process} of host {holder.host}, "
        f"in attempt {job.attempt}; an attempt may take {in_words(job.timeout_s)}"
    )
    told: dict[str, object] = {"since": rfc3339(job.last_run_at), "worker": holder.process, "host": holder.host}
    return Reason(code=Code.RUNNING, message=words, facts=told | {"attempt": job.attempt})


def _leased(facts: Facts, job: Job, worker: str) -> Reason:
    words = (
        f"it has been leased for {_since(facts, job.last_run_at)} to the HTTP worker {worker!r}, in attempt {job.attempt}; "
        f"the lease ends at {rfc3339(job.locked_until)} unless it is extended"
    )
    told: dict[str, object] = {"since": rfc3339(job.last_run_at), "worker": worker, "host": None, "attempt": job.attempt}
    return Reason(code=Code.RUNNING, message=words, facts=told | {"until": rfc3339(job.locked_until)})


def _host_silent(facts: Facts) -> Reason | None:
    """The host that holds the job has sent no heartbeat for longer than its lease."""
    holder = facts.job.holder if facts.job is not None and not is_terminal(facts.job) else None
    holder = None if http_worker(holder) is not None else holder
    host = next((host for host in facts.hosts if holder and host.boot == parse_owner(holder).boot), None)
    if host is None or host.is_alive:
        return None
    silent_s = host.silent_s or 0.0
    words = f"host {host.host}, which holds it, sent its last heartbeat {in_words(silent_s)} ago: other hosts recover it soon"
    return Reason(code=Code.HOST_SILENT, message=words, facts={"host": host.host, "silent_s": round(silent_s, 1)})


# ---- its time has not come


def _blocked(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or job.status is not Status.BLOCKED:
        return None
    told = [msgspec.to_builtins(one) for one in facts.waits_for[:MOST_NAMES]]
    named = ", ".join(map(_waited_for, facts.waits_for[:MOST_NAMES]))
    named = named or "nothing any more: a watcher decides about it within a moment"
    more = f" and {len(facts.waits_for) - MOST_NAMES} more" if len(facts.waits_for) > MOST_NAMES else ""
    return Reason(code=Code.BLOCKED, message=f"it waits for {named}{more}", facts={"waits_for": told, "run_if": job.run_if})


def _waited_for(one: Missing) -> str:
    if one.group is not None:
        return f"group {one.group!r}, of which {one.living:,} {'job has' if one.living == 1 else 'jobs have'} not ended"
    return f"job {one.job_id}{f' ({one.ref})' if one.ref is not None else ''}, which is {one.status}"


def _retry_wait(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or not facts.is_waiting or facts.is_due or not _is_a_retry(job):
        return None
    words = f"it waits {_until(facts, job)} for retry {job.retry_count} of {job.max_retries}; the last error was: {_cut(job.error)}"
    told = {**_due(facts, job), "retry": job.retry_count, "max_retries": job.max_retries, "error": _cut(job.error)}
    return Reason(code=Code.RETRY_WAIT, message=words, facts=told)


def _scheduled(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or not facts.is_waiting or facts.is_due or _is_a_retry(job):
        return None
    words = f"it is scheduled for {rfc3339(job.scheduled_at)}, in {_until(facts, job)}"
    return Reason(code=Code.SCHEDULED, message=words, facts=_due(facts, job))


def _is_a_retry(job: Job) -> bool:
    return job.retry_count > 0 and job.next_run_at == job.scheduled_at


def _due(facts: Facts, job: Job) -> dict[str, object]:
    return {"until": rfc3339(job.scheduled_at), "in_s": round((job.scheduled_at - facts.now).total_seconds(), 3)}


# ---- a needed component or host is missing


def _task_not_served(facts: Facts) -> Reason | None:
    job = facts.job
    alive = [host for host in facts.hosts if host.is_alive]
    if job is None or not facts.is_waiting or facts.is_for_http_workers or any(host.serves_task(job) for host in alive):
        return None
    served = "; ".join(f"{host.host} serves {_names(host.tasks)}" for host in alive[:MOST_NAMES]) or "no host is known"
    words = f"no worker serves the task {job.task!r}: {served}"
    return Reason(code=Code.TASK_NOT_SERVED, message=words, facts={"task": job.task, "hosts": _shown(facts)})


def _queue_not_served(facts: Facts) -> Reason | None:
    job = facts.job
    able = [host for host in facts.hosts if job is not None and host.is_alive and host.serves_task(job)]
    if job is None or not facts.is_waiting or not able or any(host.serves(job) for host in able):
        return None
    served = "; ".join(f"{host.host} takes {_names(host.queues)}" for host in able[:MOST_NAMES])
    words = f"no worker that serves the task {job.task!r} takes jobs of the queue {job.queue!r}: {served}"
    return Reason(code=Code.QUEUE_NOT_SERVED, message=words, facts={"queue": job.queue, "hosts": _shown(facts)})


def _no_watcher(facts: Facts) -> Reason | None:
    is_to_be_claimed = facts.job is None or facts.job.status is Status.PENDING
    if not facts.needs_us or not is_to_be_claimed or facts.report.watchers:
        return None
    return _missing(facts, Code.NO_WATCHER, WATCHER, "no watcher is reachable on this host: due jobs are not claimed")


def _no_queue(facts: Facts) -> Reason | None:
    if not facts.needs_us or facts.report.queues:
        return None
    return _missing(facts, Code.NO_QUEUE, QUEUE, "the queue is not reachable on this host: workers receive no jobs")


def _no_worker(facts: Facts) -> Reason | None:
    if not facts.needs_us or facts.report.workers:
        return None
    return _missing(facts, Code.NO_WORKER, WORKER, "no worker is reachable on this host: no job can run")


def _missing(facts: Facts, code: Code, role: str, words: str) -> Reason:
    """Nobody has this role now; said also if that is what an operator asked for, and how to undo it."""
    drained = [name for name in facts.report.drained if name.startswith(f"{role}-")]
    if not drained:
        return Reason(code=code, message=words)
    names = f"{_names(tuple(drained))} {'was' if len(drained) == 1 else 'were'} drained"
    words += f"; {names}: bin/jobyard restart {drained[0]} starts it again"
    return Reason(code=code, message=words, facts={"drained": drained[:MOST_NAMES]})


def _no_template(facts: Facts) -> Reason | None:
    faults = [worker.fault for worker in facts.report.workers]
    if not facts.needs_us or None in faults or not faults:
        return None
    return Reason(code=Code.NO_TEMPLATE, message=f"no worker of this host can run jobs: {faults[0]}")


def _no_http_worker(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or not facts.is_waiting or not facts.is_for_http_workers:
        return None
    seen_at = max((worker.last_seen_at for worker in facts.report.http_workers if worker.serves(job)), default=None)
    if seen_at is not None and facts.now - seen_at <= ABSENT:
        return None
    seen = "none was seen here so far" if seen_at is None else f"the last one asked {_since(facts, seen_at)} ago"
    words = f"no HTTP worker asks this host for jobs of the task {job.task!r} in the queue {job.queue!r}: {seen}"
    return Reason(code=Code.NO_HTTP_WORKER, message=words, facts={"queue": job.queue, "last_seen_at": rfc3339(seen_at)})


# ---- other jobs come first


def _paused(facts: Facts) -> Reason | None:
    found = _obstacle(facts, Code.PAUSED)
    if found is None or found.paused is None:
        return None
    pause = found.paused
    until = "until it is resumed" if pause.until is None else f"until {rfc3339(pause.until)}"
    because = "" if pause.reason is None else f": {_cut(pause.reason)}"
    words = f"limit {found.limit} was paused by {pause.by} {_since(facts, pause.since)} ago, {until}{because}"
    told = {"by": pause.by, "since": rfc3339(pause.since), "until": rfc3339(pause.until), "reason": pause.reason}
    return Reason(code=Code.PAUSED, message=words, facts={"limit": found.limit, **told})


def _held(facts: Facts) -> Reason | None:
    found = _obstacle(facts, Code.HELD)
    if found is None:
        return None
    words = f"limit {found.part} is held: no job of it begins before {rfc3339(found.until)}"
    return Reason(code=Code.HELD, message=words, facts={"limit": found.part, "until": rfc3339(found.until)})


def _limit_full(facts: Facts) -> Reason | None:
    found = _obstacle(facts, Code.LIMIT_FULL)
    if found is None:
        return None
    holders = ", ".join(found.job_ids)
    if found.max_running is None:
        words = f"the jobs of {found.part.replace(':', ' ', 1)} run one at a time, and job {holders} has not ended"
    else:
        words = f"limit {found.part} lets {found.max_running} {'job' if found.max_running == 1 else 'jobs'} run at once: {holders}"
    return Reason(code=Code.LIMIT_FULL, message=words, facts={"limit": found.part, "job_ids": list(found.job_ids)})


def _rate_limited(facts: Facts) -> Reason | None:
    found = _obstacle(facts, Code.RATE_LIMITED)
    if found is None:
        return None
    words = f"limit {found.part} lets the next job begin at {rfc3339(found.until)}"
    return Reason(code=Code.RATE_LIMITED, message=words, facts={"limit": found.part, "until": rfc3339(found.until)})


def _obstacle(facts: Facts, code: Code) -> ObstacleSeen | None:
    return next((one for one in facts.obstacles if one.code == code), None) if facts.is_due else None


def _last_chance(facts: Facts) -> Reason | None:
    job = facts.job
    if job is None or not facts.is_due or not is_last_chance(job, max_lost=facts.max_lost):
        return None
    words = f"it lost its worker {job.lost_count} of at most {facts.max_lost} times: a worker runs only one such job at a time"
    return Reason(code=Code.LAST_CHANCE, message=words, facts={"lost_count": job.lost_count, "max_lost": facts.max_lost})


def _jobs_ahead(facts: Facts) -> Reason | None:
    ahead = facts.ahead
    if not facts.is_due or not ahead:
        return None
    many = f"{ahead:,}" if facts.is_exact else f"more than {ahead:,}"
    words = f"{many} {'job comes' if ahead == 1 and facts.is_exact else 'jobs come'} first: of higher priority, or due earlier"
    return Reason(code=Code.JOBS_AHEAD, message=words, facts={"ahead": ahead, "is_exact": facts.is_exact})


def _slots_busy(facts: Facts) -> Reason | None:
    workers = facts.report.workers
    slots, busy = sum(worker.slots for worker in workers), sum(worker.busy for worker in workers)
    if not facts.is_due or not facts.is_served_here or not slots or busy < slots:
        return None
    longest_s = max(worker.longest_s for worker in workers)
    words = f"all {counted(slots, 'slot of this host is', 'slots of this host are')} busy, the longest for {in_words(longest_s)}"
    return Reason(code=Code.SLOTS_BUSY, message=words, facts={"slots": slots, "longest_s": round(longest_s, 3)})


def _about_to_start() -> Reason:
    return Reason(code=Code.ABOUT_TO_START, message="nothing blocks it: it is due and starts within a moment")


RULES: tuple[Callable[[Facts], Reason | None], ...] = (
    _database, _ended, _cancel_requested, _running, _host_silent, _blocked, _retry_wait, _scheduled, _task_not_served,
    _queue_not_served, _no_watcher, _no_queue, _no_worker, _no_template, _no_http_worker, _paused, _held, _limit_full,
    _rate_limited, _last_chance, _jobs_ahead, _slots_busy,
)  # fmt: skip
"""In order of presentation."""


# ---- words


def _since(facts: Facts, at: datetime | None) -> str:
    return in_words(max(0.0, (facts.now - at).total_seconds())) if at is not None else "some time"


def _until(facts: Facts, job: Job) -> str:
    return in_words((job.scheduled_at - facts.now).total_seconds())


def _cut(error: str | None) -> str:
    text = error or ""
    return text if len(text) <= LONGEST_ERROR_CHARS else text[: LONGEST_ERROR_CHARS - 1] + "…"


def _names(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "any"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(sorted(names)[:MOST_NAMES]) + more if names else "none"


def _shown(facts: Facts) -> list[dict[str, object]]:
    return [_host(host) for host in facts.hosts[:MOST_NAMES]]


def _host(host: HostSeen) -> dict[str, object]:
    tasks = None if host.tasks is None else sorted(host.tasks)[:MOST_NAMES]
    queues = None if host.queues is None else sorted(host.queues)[:MOST_NAMES]
    return {"host": host.host, "tasks": tasks, "queues": queues, "is_alive": host.is_alive}
