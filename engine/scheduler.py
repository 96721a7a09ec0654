"""Accepts and reads jobs. All submissions that came since the last turn share one commit; each is stored whole or not at all.

A scheduler owns nothing but its counters: the store is the truth, and the same `Submit` sent to another scheduler stores
the same jobs once (the sender reserved their ids). What it leaves to others: HTTP, claiming, running.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

from engine import lifecycle
from engine.config import Settings
from engine.errors import Conflict, JobyardError, NotFound, OutcomeUnknown, StoreBroken, StoreUnavailable, Unavailable
from engine.job import Job, Status, execution_to_json, to_json
from engine.logs import Log
from engine.owners import parse_owner
from engine.silence import Elsewhere
from engine.store.port import Abandoned, Inserted, Insertion, JobFilter, Store
from engine.submission import Defaults, TaskDefaults, parse
from engine.tasks.catalog import Catalog
from engine.wire.frames import MAX_FRAME_BYTES, Damaged
from engine.wire.hub import Letter, Network
from engine.wire.messages import (
    Accepted,
    Begun,
    CancelAsked,
    CancelJob,
    CountJobs,
    Find,
    GetStats,
    Json,
    List,
    ListExecutions,
    Message,
    Ping,
    Refused,
    RetryJob,
    Submit,
    Wake,
)
from engine.wire.run_dir import RunDir
from engine.world import World

IDLE_S = 60.0
JOBS_A_COMMIT = 20_000
BYTES_A_TURN = 16 << 20
GUARD_TRIES = 5
PENDING_KNOWN_FOR_S = 0.1
WATCHERS_KNOWN_FOR_S = 1.0


class Scheduler:
    """The role; see `engine.processes.child.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, run_dir: RunDir,
        elsewhere: Elsewhere | None = None,
    ) -> None:  # fmt: skip
        """`elsewhere`: what other hosts say of themselves, where there can be some."""
        self._owner = parse_owner(owner)
        self._settings = settings
        self._world = world
        self._store = store
        self._network = network
        self._log = log
        self._run_dir = run_dir
        self._catalog = Catalog(run_dir)
        self._watchers: list[str] = []
        self._watchers_read_at = float("-inf")
        self._turn = parse_owner(owner).generation
        self._started = world.monotonic()
        self.jobs_accepted = 0
        self.requests = 0
        self._submits: deque[Letter] = deque()
        self._elsewhere = elsewhere or Elsewhere(None, world)
        self._pending_seen = 0
        self._pending_seen_at = float("-inf")
        self._draining = False
        self._answers: dict[type, Callable[..., Message]] = {
            Find: self._find, List: self._list, ListExecutions: self._list_executions, CancelJob: self._cancel,
            RetryJob: self._retry, CountJobs: self._count, Ping: self._ping, GetStats: self._stats,
        }  # fmt: skip

    @property
    def drained(self) -> bool:
        """Whether everything that came is answered."""
        return self._draining and not self._submits

    def tick(self, inbox: list[Letter]) -> float:
        """Store what was submitted, then answer what was asked."""
        self._submits.extend(letter for letter in inbox if isinstance(letter.message, Submit))
        self._accept(self._this_turns())
        for letter in inbox:
            answer = self._answers.get(type(letter.message))
            if answer is not None and letter.peer is not None:
                self.requests += not isinstance(letter.message, Ping | GetStats)
                self._reply(letter, self._guarded(answer, letter.message))
        return 0.0 if self._submits else IDLE_S

    def drain(self) -> None:
        """What came is answered; nothing else is ever under way between two turns."""
        self._draining = True

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- submissions

    def _this_turns(self) -> list[Letter]:
        """As many as are surely read long before we would be taken for hung; the others wait for the next turn."""
        taken: list[Letter] = []
        count = 0
        while self._submits and count < BYTES_A_TURN:
            taken.append(self._submits.popleft())
            message = taken[-1].message
            count += len(message.body) if isinstance(message, Submit) else 0
        return taken

    def _accept(self, submits: list[Letter]) -> None:
        defaults = self._defaults() if submits else None
        waiting: list[tuple[Letter, list[Job]]] = []
        count = 0
        for letter in submits:
            assert defaults is not None
            jobs = self._parse(letter, defaults)
            if jobs is not None:
                waiting.append((letter, jobs))
                count += len(jobs)
            if count >= JOBS_A_COMMIT:
                self._insert(waiting)
                waiting, count = [], 0
        if waiting:
            self._insert(waiting)

    def _parse(self, letter: Letter, defaults: Defaults) -> list[Job] | None:
        submit = letter.message
        assert isinstance(submit, Submit)
        self.requests += 1
        if self._is_late(letter):
            self._reply(letter, self._told(Abandoned(), letter))
            return None
        try:
            return parse(
                submit.form, submit.body, first_id=submit.first_id, idempotency_key=submit.idempotency_key,
                now=self._world.now(), defaults=defaults,
            )  # fmt: skip
        except JobyardError as wrong:
            self._reply(letter, _refused(wrong))
        except Exception as bug:  # one request's surprise must not cost the others theirs
            self._reply(letter, self._our_fault(bug))
        return None

    def _insert(self, waiting: list[tuple[Letter, list[Job]]]) -> None:
        try:
            self._refuse_when_full()
            stored = self._store.insert([jobs for _, jobs in waiting], abandoned=lambda number: self._gives_up(waiting[number][0]))
        except Unavailable as fault:
            is_known = not isinstance(fault, StoreUnavailable) or not fault.may_be_stored
            for letter, _ in waiting:
                self._reply(letter, _refused(fault if is_known else OutcomeUnknown()))
            return
        for (letter, _), insertion in zip(waiting, stored, strict=True):
            self._reply(letter, self._told(insertion, letter))
        answered = zip(waiting, stored, strict=True)
        self._wake_watcher([job for (_, jobs), done in answered if isinstance(done, Inserted) for job in jobs])

    def _refuse_when_full(self) -> None:
        """By what was pending a moment ago and came since; before anybody is refused, by what is pending now."""
        now = self._world.monotonic()
        if now - self._pending_seen_at < PENDING_KNOWN_FOR_S and self._pending_seen < self._settings.max_pending:
            return
        pending = self._pending_seen = self._store.counts()[Status.PENDING]
        self._pending_seen_at = now
        if pending >= self._settings.max_pending:
            limit = self._settings.max_pending
            raise Unavailable("overloaded", f"{pending} jobs are pending and MAX_PENDING is {limit}", retry_after_s=5)

    def _gives_up(self, letter: Letter) -> bool:
        """The last moment to do so. Where it may take long from here on, whoever still waits is told."""
        is_late = self._is_late(letter)
        if not is_late and self._settings.mongo_uri is not None:
            self._reply(letter, Begun())
        return is_late

    def _is_late(self, letter: Letter) -> bool:
        assert isinstance(letter.message, Submit)
        return self._world.monotonic() > letter.message.deadline

    def _told(self, insertion: Insertion, letter: Letter) -> Message:
        if isinstance(insertion, Inserted):
            self.jobs_accepted += len(insertion.job_ids) - insertion.repeated
            self._pending_seen += len(insertion.job_ids) - insertion.repeated
            return Accepted(job_ids=insertion.job_ids, repeated=insertion.repeated)
        if isinstance(insertion, Abandoned):
            return Refused(code="unavailable", message="the request waited too long; nothing was stored", retry_after_s=1)
        assert isinstance(letter.message, Submit)
        at = "" if letter.message.form == "job" else f"jobs[{insertion.index}]: "
        return Refused(
            code="idempotency_conflict", field=f"jobs[{insertion.index}].idempotency_key" if at else "idempotency_key",
            message=f"{at}this idempotency_key was used for job {insertion.job_id} with another body",
        )  # fmt: skip

    def _reply(self, letter: Letter, reply: Message) -> None:
        """What no frame can hold is refused: it costs its asker the answer, and nobody else anything."""
        if letter.peer is None:
            return
        try:
            letter.peer.send(reply)
        except Damaged as fault:
            self._log.warning("answer_too_large", question=type(letter.message).__name__, reason=str(fault))
            words = f"the answer is over {MAX_FRAME_BYTES} bytes; ask with a lower limit"
            letter.peer.send(Refused(code="query_too_broad", message=words, retry_after_s=1))

    def _defaults(self) -> Defaults:
        return Defaults(
            max_retries=self._settings.max_retries, timeout_s=self._settings.job_timeout_s,
            tasks={
                name: TaskDefaults(max_retries=options.max_retries, timeout_s=options.timeout_s)
                for name, options in (*self._elsewhere.tasks().items(), *self._catalog.options().items())
            },
        )  # fmt: skip

    def _wake_watcher(self, jobs: list[Job]) -> None:
        """The next watcher in turn, when something is due before its next poll."""
        due_at = min((job.scheduled_at for job in jobs), default=None)
        if due_at is None or (due_at - self._world.now()).total_seconds() > 2 * self._settings.poll_s:
            return
        if self._world.monotonic() - self._watchers_read_at > WATCHERS_KNOWN_FOR_S:
            self._watchers = self._run_dir.components("watcher")
            self._watchers_read_at = self._world.monotonic()
        if self._watchers:
            self._turn += 1
            self._network.hint(self._watchers[self._turn % len(self._watchers)], Wake(due_at=due_at))

    # ---- questions

    def _guarded(self, answer: Callable[..., Message], message: Message) -> Message:
        try:
            return answer(message)
        except StoreBroken:
            raise
        except JobyardError as wrong:
            return _refused(wrong)
        except Exception as bug:  # the next request must be answered as if nothing had happened
            return self._our_fault(bug)

    def _find(self, message: Find) -> Message:
        return Json(body=to_json(self._shown(self._get(message.job_id))))

    def _list(self, message: List) -> Message:
        wanted = JobFilter(status=message.status, task=message.task, queue=message.queue)
        page = self._store.list_jobs(wanted, limit=message.limit, cursor=message.cursor)
        return Json(body=b"[" + b",".join([to_json(self._shown(job)) for job in page.jobs]) + b"]", cursor=page.cursor)

    def _list_executions(self, message: ListExecutions) -> Message:
        self._get(message.job_id)
        executions = self._store.executions(message.job_id)
        return Json(body=b"[" + b",".join([execution_to_json(execution) for execution in executions]) + b"]")

    def _cancel(self, message: CancelJob) -> Message:
        job, before = self._change(message.job_id, self._cancelled)
        told = CancelAsked(job_id=job.job_id, epoch=job.epoch)
        if before.status is Status.RUNNING and before.locked_by:
            self._network.hint(parse_owner(before.locked_by).process, told)
        elif before.status is Status.QUEUED:
            for name in self._run_dir.components("queue"):
                self._network.hint(name, told)
        return Json(body=to_json(self._shown(job)))

    def _retry(self, message: RetryJob) -> Message:
        job, _ = self._change(message.job_id, self._retried)
        self._wake_watcher([job])
        return Json(body=to_json(job))

    def _count(self, message: CountJobs) -> Message:
        return Json(body=msgspec.json.encode(self._store.counts()))

    def _ping(self, message: Ping) -> Message:
        return Json(body=msgspec.json.encode({"status": "healthy", "database": self._store.ping()}))

    def _stats(self, message: GetStats) -> Message:
        return Json(
            body=msgspec.json.encode(
                {
                    "scheduler_id": self._owner.process, "jobs_accepted": self.jobs_accepted, "requests": self.requests,
                    "uptime_s": round(self._world.monotonic() - self._started, 3),
                }
            )
        )  # fmt: skip

    def _get(self, job_id: str) -> Job:
        job = self._store.find([job_id])[0]
        if job is None:
            raise NotFound("not_found", f"there is no job {job_id}")
        return job

    def _change(self, job_id: str, decide: Callable[[Job], lifecycle.Change]) -> tuple[Job, Job]:
        """The job after and before the change; somebody else may move the job meanwhile, then it is decided anew."""
        for _ in range(GUARD_TRIES):
            job = self._get(job_id)
            change = decide(job)
            if self._store.apply([change])[0]:
                self._log.debug("job_changed", verb=change.verb, job_id=job_id)
                return change.after(job), job
        raise Unavailable("unavailable", f"job {job_id} changes hands too fast; try again")

    def _cancelled(self, job: Job) -> lifecycle.Change:
        if lifecycle.is_terminal(job):
            raise Conflict("conflict", f"job {job.job_id} is {job.status} already and cannot be cancelled", "job_id")
        return lifecycle.cancel(job, now=self._world.now())

    def _retried(self, job: Job) -> lifecycle.Change:
        if not lifecycle.may(job, lifecycle.Verb.RETRY):
            raise Conflict("conflict", f"job {job.job_id} is {job.status}; only failed and cancelled jobs can be retried", "job_id")
        return lifecycle.retry(job, now=self._world.now())

    def _shown(self, job: Job) -> Job:
        return lifecycle.as_held(job, seen_at=self._seen_at, lease_s=self._settings.lease_s)

    def _seen_at(self, boot: str) -> datetime | None:
        """An owner of our own boot would be missed at once, so it lives now."""
        return self._world.now() if boot == self._owner.boot else self._elsewhere.seen_at(boot)

    def _our_fault(self, bug: Exception) -> Message:
        error_id = self._world.token()
        self._log.error("request_failed", error_id=error_id, error=repr(bug))
        return Refused(code="internal_error", message=f"this is our fault, not yours; the log knows it as {error_id}")


def _refused(wrong: JobyardError) -> Refused:
    retry_after_s = wrong.retry_after_s if isinstance(wrong, Unavailable) else None
    return Refused(code=wrong.code, message=wrong.message, field=wrong.field, retry_after_s=retry_after_s)
