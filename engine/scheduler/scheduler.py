"""Accepts jobs (see `scheduler.group_commit`), reads, cancels and retries them, and wakes the watchers.

A scheduler owns nothing but its counters: the store is authoritative. HTTP, claiming and running are left to other roles.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from jobyard.engine.config import Settings
from jobyard.engine.errors import Conflict, JobyardError, NotFound, StoreBroken, changing_too_quickly
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.edits import RetryEdit, edited, parse_retry
from jobyard.engine.jobs.job import ExecutionStatus, Job, Output, execution_to_json, to_json
from jobyard.engine.jobs.owners import as_held, http_worker, parse_owner
from jobyard.engine.jobs.selection import parse
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.scheduler.bulk import take_step
from jobyard.engine.scheduler.completion_watch import CompletionWatch
from jobyard.engine.scheduler.declared_tasks import DeclaredTasks
from jobyard.engine.scheduler.group_commit import GroupCommit, refused
from jobyard.engine.scheduler.hooks import Hooks
from jobyard.engine.scheduler.http_leases import HttpLeases
from jobyard.engine.scheduler.job_edits import JobEdits
from jobyard.engine.scheduler.limits import Limits
from jobyard.engine.scheduler.question_queue import MAX_HEAVY, QuestionQueue
from jobyard.engine.scheduler.replies import Replies
from jobyard.engine.scheduler.schedules import Schedules
from jobyard.engine.scheduler.why import FactCollector
from jobyard.engine.scheduler.workflows import Workflows
from jobyard.engine.store.bounds import OUTPUTS_BYTES
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import Catalog, defaults_of
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.why import rules as reasons
from jobyard.engine.wire.cancel_hints import tell_cancelled
from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged
from jobyard.engine.wire.hook_messages import AskHooks
from jobyard.engine.wire.hub import Envelope, Network
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.lease_messages import (
    AwaitLeases,
    DeclareTask,
    DeleteTask,
    LeaseJobs,
    LeasesGranted,
    ReturnLeases,
    SettleLeases,
)
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    AskLimits,
    AskSchedules,
    CancelJob,
    ChangeMany,
    Closed,
    CountJobs,
    CountMatching,
    Explain,
    Find,
    Json,
    List,
    ListExecutions,
    ListOutputs,
    ListTasks,
    Outputs,
    Ping,
    Refused,
    RetryJob,
    RunJob,
    Submit,
    Submits,
    TagJob,
    Wake,
    WatchCompletion,
)
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.wire.turns import whose_turn
from jobyard.engine.workflows.retries import retried
from jobyard.engine.world import World

IDLE_S = 60.0
GUARD_TRIES = 5
WATCHERS_KNOWN_FOR_S = 1.0


class Scheduler:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, run_dir: RunDir,
        other_hosts: OtherHosts | None = None,
    ) -> None:  # fmt: skip
        """`elsewhere`: what other hosts say of themselves, where there can be some."""
        self._owner, self._settings, self._world, self._store = parse_owner(owner), settings, world, store
        self._network, self._log, self._run_dir = network, log, run_dir
        self._catalog = Catalog(run_dir)
        self._watchers: list[str] = []
        self._watchers_read_at, self._started = float("-inf"), world.monotonic()
        self._questions = self._stale_writes = 0
        self._other_hosts = other_hosts or OtherHosts(None, world)
        self._declared = DeclaredTasks(settings=settings, store=store, log=log, python_tasks=self._python_tasks)
        self._http_leases = HttpLeases(
            owner=owner, settings=settings, world=world, store=store, log=log, declared=self._declared, wake=self._wake_watcher,
            tell_keeper=lambda: self._hint_watcher(LeasesGranted()),
        )  # fmt: skip
        self._group_commit = GroupCommit(
            settings=settings, world=world, store=store, defaults=self._defaults, wake=self._wake_watcher,
            our_fault=self._our_fault, log=log, learn=self._declared.learn, more_counts=self._http_leases.counts,
        )  # fmt: skip
        self._replies = Replies()
        self._completion_watch = CompletionWatch(store, world)
        self._facts = FactCollector(
            owner=self._owner, settings=settings, world=world, store=store, catalog=self._catalog, other_hosts=self._other_hosts,
            is_declared=self._declared.is_declared,
        )  # fmt: skip
        self._schedules = Schedules(
            settings=settings, world=world, store=store, log=log, defaults=self._defaults_anew, wake=self._wake_watcher,
            tell_cancelled=self._tell_cancelled,
        )  # fmt: skip
        self._limits = Limits(world=world, store=store, log=log, wake=self._wake_watcher)
        self._hooks = Hooks(world=world, store=store, log=log, defaults=self._defaults_anew, wake=self._wake_watcher)
        self._edits = JobEdits(world=world, store=store, log=log, change=self._change, shown=self._shown, wake=self._wake_watcher)
        self._draining = False
        self._question_queue = QuestionQueue(world, answer=self._answer, refuse=self._refuse_heavy)
        self._answers = self._answers_by_type()

    def _answers_by_type(self) -> dict[type, Callable[..., Message]]:
        return {
            Find: self._find, List: self._list, ListExecutions: self._list_executions, CancelJob: self._cancel,
            RetryJob: self._retry, CountJobs: self._count, Ping: self._ping, ChangeMany: self._change_many,
            CountMatching: self._count_matching, ListTasks: self._list_tasks, ListOutputs: self._list_outputs,
            Explain: self._explain, AskSchedules: self._schedules.answer, AskLimits: self._limits.answer,
            AskHooks: self._hooks.answer, DeclareTask: self._declared.put, DeleteTask: self._declared.delete,
            ReturnLeases: self._http_leases.give_back, **Workflows(self._store).answers, **self._edits.answers,
        }  # fmt: skip

    @property
    def drained(self) -> bool:
        """Whether every request has a reply."""
        return self._draining and self._is_idle

    @property
    def _is_idle(self) -> bool:
        return self._group_commit.is_over and self._question_queue.is_empty and self._http_leases.is_over

    def tick(self, inbox: list[Envelope]) -> float:
        """Answer pings, store a portion of the submissions, then answer a portion of the other requests."""
        for envelope in inbox:
            if isinstance(envelope.message, Submit) and envelope.peer is not None:
                self._group_commit.take(envelope.peer, envelope.message)
            elif isinstance(envelope.message, Submits) and envelope.peer is not None:
                for place, submit in self._replies.places(envelope.peer, envelope.message):
                    self._group_commit.take(place, submit)
            elif isinstance(envelope.message, Ping):
                self._answer(envelope)
            elif isinstance(envelope.message, LeaseJobs | AwaitLeases | SettleLeases) and envelope.peer is not None:
                self._http_leases.take(envelope.peer, envelope.message)
            elif isinstance(envelope.message, WatchCompletion) and envelope.peer is not None:
                self._completion_watch.take(envelope.peer, envelope.message)
            elif isinstance(envelope.message, Closed) and envelope.peer is not None:
                self._completion_watch.drop(envelope.peer)
                self._http_leases.drop(envelope.peer)
                self._question_queue.drop(envelope.peer)
            elif type(envelope.message) in self._answers:
                self._question_queue.take(envelope)
        self._group_commit.commit()
        self._replies.send()
        self._question_queue.answer()
        self._completion_watch.look()
        self._http_leases.work()
        next_look_s = min(self._completion_watch.next_look_s(), self._http_leases.next_s())
        return min(IDLE_S, next_look_s) if self._is_idle else 0.0

    def drain(self) -> None:
        """All received requests are answered; nothing else is ever in progress between two iterations."""
        self._draining = True
        self._http_leases.drain()

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- submissions

    def _defaults(self) -> Defaults:
        return Defaults(
            max_retries=self._settings.max_retries, timeout_s=self._settings.job_timeout_s,
            tasks=defaults_of(self._declared.all()), has_limit=self._limits.lookup(),
        )  # fmt: skip

    def _defaults_anew(self) -> Defaults:
        self._declared.learn()
        return self._defaults()

    def _python_tasks(self) -> dict[str, TaskOptions]:
        """Of all hosts; this host's own come first where several define a task."""
        return {**self._other_hosts.tasks(), **self._catalog.options()}

    def _wake_watcher(self, dues: list[datetime], *, resolves: bool = False) -> None:
        """Wake a watcher if one of these times, when jobs are due, is before its next poll; it claims for all.

        `resolves`: see `Wake`.
        """
        due_at = min(dues, default=None)
        self._http_leases.wake()
        if due_at is None or (due_at - self._world.now()).total_seconds() > 2 * self._settings.poll_s:
            return
        self._hint_watcher(Wake(due_at=due_at, resolves=resolves))

    def _hint_watcher(self, hint: Message) -> None:
        """For a while all schedulers tell the same one."""
        if self._world.monotonic() - self._watchers_read_at > WATCHERS_KNOWN_FOR_S:
            self._watchers = self._run_dir.components("watcher")
            self._watchers_read_at = self._world.monotonic()
        if self._watchers:
            self._network.hint(whose_turn(self._watchers, self._world.monotonic()), hint)

    # ---- requests

    def _answer(self, envelope: Envelope) -> None:
        answer = self._answers.get(type(envelope.message))
        if answer is not None and envelope.peer is not None:
            self._questions += not isinstance(envelope.message, Ping)
            self._reply(envelope, self._guarded(answer, envelope.message))

    def _refuse_heavy(self, envelope: Envelope) -> None:
        words = f"{MAX_HEAVY} searches, counts and bulk requests wait already; try again, or use fewer filters"
        self._reply(envelope, Refused(code="overloaded", message=words, retry_after_s=1))

    def _reply(self, envelope: Envelope, reply: Message) -> None:
        """Send a reply. One that is too large for a frame is replaced by a refusal, so it affects only its own request."""
        if envelope.peer is None:
            return
        try:
            envelope.peer.send(reply)
        except Damaged as fault:
            self._log.warning("answer_too_large", question=type(envelope.message).__name__, reason=str(fault))
            words = f"the response is over {MAX_FRAME_BYTES} bytes; use a lower limit"
            envelope.peer.send(Refused(code="query_too_broad", message=words, retry_after_s=1))

    def _guarded(self, answer: Callable[..., Message], message: Message) -> Message:
        try:
            return answer(message)
        except StoreBroken:
            raise
        except JobyardError as wrong:
            return refused(wrong)
        except Exception as bug:  # an unexpected exception must not affect the next request
            return self._our_fault(bug, getattr(message, "request_id", ""))

    def _find(self, message: Find) -> Message:
        return Json(body=to_json(self._shown(self._get(message.job_id))))

    def _list(self, message: List) -> Message:
        page = self._store.list_jobs(message.wanted, limit=message.limit, cursor=message.cursor)
        return Json(body=b"[" + b",".join([to_json(self._shown(job)) for job in page.jobs]) + b"]", cursor=page.cursor)

    def _list_executions(self, message: ListExecutions) -> Message:
        self._get(message.job_id)
        executions = self._store.executions(message.job_id)
        return Json(body=b"[" + b",".join([execution_to_json(execution) for execution in executions]) + b"]")

    def _list_outputs(self, message: ListOutputs) -> Message:
        """One entry per attempt; of large outputs only the latest are read, and older ones are omitted."""
        job = self._get(message.job_id)
        kept = self._store.outputs(job.job_id)
        attempts = self._store.executions(job.job_id)
        oldest = kept[0].attempt if sum(len(output.text.encode()) for output in kept) > OUTPUTS_BYTES else 0
        known = {output.attempt: output for output in kept}
        shown = [
            known.get(row.attempt) or Output(job_id=job.job_id, attempt=row.attempt) for row in attempts if row.attempt >= oldest
        ]
        is_running = bool(shown) and attempts[-1].status is ExecutionStatus.RUNNING
        is_ours = is_running and http_worker(attempts[-1].worker_id) is None
        worker = parse_owner(attempts[-1].worker_id).process if is_ours else None
        return Outputs(outputs=shown, worker=worker, is_running=is_running)

    def _cancel(self, message: CancelJob) -> Message:
        job, before = self._change(message, self._cancelled)
        self._tell_cancelled([(before, job)])
        return Json(body=to_json(self._shown(job)))

    def _tell_cancelled(self, pairs: list[tuple[Job, Job]]) -> None:
        """Given each job before and after; what one in a lane leaves free is somebody's at once."""
        tell_cancelled(self._network, pairs)
        resolves = any(before.is_awaited for before, _ in pairs)
        if resolves or any(before.lane is not None and lifecycle.is_terminal(job) for before, job in pairs):
            self._wake_watcher([self._world.now()], resolves=resolves)

    def _retry(self, message: RetryJob) -> Message:
        edit = parse_retry(message.body)
        job, _ = self._change(message, lambda job: self._retried(job, edit))
        self._wake_watcher([job.scheduled_at], resolves=job.to_resolve is not None)
        return Json(body=to_json(job))

    def _change_many(self, message: ChangeMany) -> Message:
        step = take_step(self._store, message.verb, parse(message.body, message.verb), now=self._world.now())
        pairs = [(before, change.after(before)) for before, change in step.changed]
        told = {"jobs": len(pairs), "skipped": step.skipped, "by": message.by, "request_id": message.request_id}
        self._log.info("jobs_changed", verb=message.verb, **told)
        if message.verb is lifecycle.Verb.RETRY:
            self._wake_watcher([job.scheduled_at for _, job in pairs], resolves=any(job.to_resolve for _, job in pairs))
        else:
            self._tell_cancelled(pairs)
        return Json(body=step.to_json())

    def _explain(self, message: Explain) -> Message:
        return Json(body=reasons.to_json(self._facts.facts(message.job_id, message.report)))

    def _count(self, message: CountJobs) -> Message:
        return as_json(self._store.counts())

    def _count_matching(self, message: CountMatching) -> Message:
        return as_json(self._store.count_jobs(message.wanted))

    def _list_tasks(self, message: ListTasks) -> Message:
        return as_json(self._declared.rows())

    def _ping(self, message: Ping) -> Message:
        return as_json({"status": "healthy", "database": self._store.ping()})

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        minutes = self._group_commit.minutes
        return ComponentCounters(
            started_at=self._started,
            counts={"stale_writes": self._stale_writes, "leased": self._http_leases.counts()["jobs_leased"]},
            stats={
                "scheduler_id": self._owner.process, "jobs_accepted": self._group_commit.jobs_accepted,
                "requests": self._group_commit.requests + self._questions,
            },
            http_workers=self._http_leases.workers(), attempts=self._http_leases.attempts,
            minute=minutes.under_way(), minutes=minutes.over(),
        )  # fmt: skip

    def _get(self, job_id: str) -> Job:
        job = self._store.find([job_id])[0]
        if job is None:
            raise NotFound("not_found", f"there is no job {job_id}")
        return job

    def _change(
        self, message: CancelJob | RetryJob | RunJob | TagJob, decide: Callable[[Job], lifecycle.Change]
    ) -> tuple[Job, Job]:  # fmt: skip
        """The job after and before the change; if another process moves the job meanwhile, it is decided again."""
        for _ in range(GUARD_TRIES):
            job = self._get(message.job_id)
            change = decide(job)
            if self._store.apply([change])[0]:
                self._log.info("job_changed", verb=change.verb, job_id=job.job_id, by=message.by, request_id=message.request_id)
                return change.after(job), job
            self._stale_writes += 1
        raise changing_too_quickly(f"job {message.job_id}")

    def _cancelled(self, job: Job) -> lifecycle.Change:
        if lifecycle.is_terminal(job):
            raise Conflict("conflict", f"job {job.job_id} is already {job.status} and cannot be cancelled", "job_id")
        return lifecycle.cancel(job, now=self._world.now())

    def _retried(self, job: Job, edit: RetryEdit) -> lifecycle.Change:
        now = self._world.now()
        return edited(retried(self._store, job, now=now), job, edit, now=now)

    def _shown(self, job: Job) -> Job:
        return as_held(job, seen_at=self._seen_at, lease_s=self._settings.lease_s)

    def _seen_at(self, boot: str) -> datetime | None:
        """An owner of our own boot counts as alive now: if it died, the supervisor would notice at once."""
        return self._world.now() if boot == self._owner.boot else self._other_hosts.seen_at(boot)

    def _our_fault(self, bug: Exception, request_id: str) -> Message:
        error_id = self._world.token()
        self._log.error("request_failed", error_id=error_id, request_id=request_id, error=repr(bug))
        return Refused(code="internal_error", message=f"an internal error occurred; the log has it as error_id {error_id}")
