"""Accepts submissions: all that have arrived are parsed and share one commit; each is stored as a whole or not at all.

The sender reserved the ids, so the same request sent to two schedulers stores its jobs once. A request that arrives too late, or
when too many jobs are pending, is refused. If it was sent before, however, the scheduler that had it first may have stored it and
died, so it is looked up:

    in time, and room       stored, or found to be              ──▶ Accepted
    too late or too full    it comes again, and its jobs exist  ──▶ Accepted
    too late                otherwise                           ──▶ Expired
    too full                otherwise                           ──▶ Refused; its first try may still be stored

`Expired` is definitive: lateness is decided at the last check by the store, and where commits are ordered (on SQLite, behind the
lock) any request that was in time has committed before. Where they are not (on MongoDB), a request in time is sent `Begun` first.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from jobyard.engine.config import Settings
from jobyard.engine.errors import InvalidRequest, JobyardError, OutcomeUnknown, StoreBroken, StoreUnavailable, Unavailable
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.submission import Defaults, parse
from jobyard.engine.logs import Log
from jobyard.engine.metrics import Minutes, Totals
from jobyard.engine.scheduler.backlog import too_many, waiting_in
from jobyard.engine.store.port import Abandoned, Inserted, Insertion, KeyTaken, NotUnique, Store
from jobyard.engine.tokens import API, DEFAULT_NAMES
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Refused, Submit
from jobyard.engine.workflows.acceptance import NotAccepted
from jobyard.engine.world import World

UNNAMED = DEFAULT_NAMES[API]
"""The name of clients without a token or with one without a name; their submissions are told at debug only."""
JOBS_A_TURN = 2_000
BYTES_A_TURN = 4 << 20
"""Past this many bytes, no further request is taken in this iteration, so that queries never wait for long."""
PENDING_KNOWN_FOR_S = 0.1
HALF_DONE = Refused(code="unavailable", message="the same request, or one with its idempotency key, is half done", retry_after_s=1)


@dataclass(slots=True)
class Waiting:
    """A submission that has been parsed. `otherwise`: the reply if it is not stored."""

    peer: Peer
    submit: Submit
    jobs: list[Job]
    otherwise: Message = HALF_DONE


class GroupCommit:
    """All submissions of one scheduler."""

    def __init__(
        self, *, settings: Settings, world: World, store: Store, defaults: Callable[[], Defaults],
        wake: Callable[..., None], our_fault: Callable[[Exception, str], Message], log: Log,
        learn: Callable[[], object] = lambda: None, more_counts: Callable[[], dict[str, int]] = dict,
    ) -> None:  # fmt: skip
        """`wake` receives the times at which stored jobs are due, and whether some wait for others (`resolves`).

        `our_fault` makes the reply for an unexpected exception; `learn`: reads which tasks there are, before one counts as
        unknown; `more_counts`: what else is counted by the minute.
        """
        self._learn = learn
        self._settings = settings
        self._world = world
        self._store = store
        self._defaults = defaults
        self._wake = wake
        self._our_fault = our_fault
        self._log = log
        self._came: deque[tuple[Peer, Submit]] = deque()
        self._pending_seen = 0
        self._pending_seen_at = float("-inf")
        self._accepted_from: Counter[str] = Counter()
        """How many jobs clients whose tokens have names have submitted in this iteration."""
        self.jobs_accepted = 0
        self.requests = 0
        self.minutes = Minutes(world, lambda: Totals(counts={"accepted": self.jobs_accepted, **more_counts()}))

    @property
    def is_over(self) -> bool:
        """Whether every submission has a reply."""
        return not self._came

    def take(self, peer: Peer, submit: Submit) -> None:
        """Queue a submission; a later `commit` parses it."""
        self._came.append((peer, submit))

    def commit(self) -> None:
        """Store one iteration's portion in one commit; the rest waits for the next iteration."""
        waiting: list[Waiting] = []
        defaults = self._defaults() if self._came else None
        count = size = 0
        while self._came and count < JOBS_A_TURN and size < BYTES_A_TURN:
            peer, submit = self._came.popleft()
            assert defaults is not None
            size += len(submit.body)
            jobs = self._read(peer, submit, defaults)
            if jobs is not None:
                waiting.append(Waiting(peer, submit, jobs))
                count += len(jobs)
        if waiting:
            self.minutes.turn()
            self._store_all(waiting)

    def _read(self, peer: Peer, submit: Submit, defaults: Defaults) -> list[Job] | None:
        self.requests += 1
        if self._is_late(submit) and not submit.is_again:
            peer.send(Expired())
            return None
        try:
            return self._parse(submit, defaults)
        except StoreBroken:
            raise
        except JobyardError as wrong:
            peer.send(refused(wrong))
        except Exception as bug:  # an unexpected exception in one request must not affect the others
            peer.send(self._our_fault(bug, submit.request_id))
        return None

    def _parse(self, submit: Submit, defaults: Defaults, *, is_last_try: bool = False) -> list[Job]:
        try:
            return parse(
                submit.form, submit.body, first_id=submit.first_id, idempotency_key=submit.idempotency_key,
                now=self._world.now(), defaults=defaults,
            )  # fmt: skip
        except InvalidRequest as wrong:
            if wrong.code != "unknown_task" or is_last_try:
                raise
        self._learn()
        return self._parse(submit, self._defaults(), is_last_try=True)

    def _store_all(self, waiting: list[Waiting]) -> None:
        try:
            full = self._too_full()
            if full is not None:
                waiting = _refuse_new(waiting, full)
            if not waiting:
                return
            stored = self._store.insert(
                [one.jobs for one in waiting], abandoned=lambda number: self._gives_up(waiting[number], full),
                seen=lambda insertions: self._wake_for(waiting, insertions),
            )  # fmt: skip
        except Unavailable as fault:
            is_known = not isinstance(fault, StoreUnavailable) or not fault.may_be_stored
            for one in waiting:
                one.peer.send(refused(fault if is_known else OutcomeUnknown()))
            return
        for one, insertion in zip(waiting, stored, strict=True):
            one.peer.send(self._look_up(one) if isinstance(insertion, Abandoned) else self._told(one, insertion))
        for client, jobs in self._accepted_from.items():
            self._log.info("jobs_submitted", by=client, jobs=jobs)
        self._accepted_from.clear()

    def _wake_for(self, waiting: list[Waiting], stored: list[Insertion]) -> None:
        """Wake a watcher while the commit is still being synced to disk."""
        answered = zip(waiting, stored, strict=True)
        inserted = [(one, insertion) for one, insertion in answered if isinstance(insertion, Inserted)]
        dues = [job.created_at if job.after else job.scheduled_at for one, _ in inserted for job in one.jobs]
        dues += [insertion.replaced_due_at for _, insertion in inserted if insertion.replaced_due_at is not None]
        self._wake(dues, resolves=any(job.after is not None for one, _ in inserted for job in one.jobs))

    def _too_full(self) -> Refused | None:
        """Based on a recent count of pending jobs plus those stored since; recounted before any request is refused."""
        now = self._world.monotonic()
        limit = self._settings.max_pending
        if now - self._pending_seen_at < PENDING_KNOWN_FOR_S and self._pending_seen < limit:
            return None
        self._pending_seen, self._pending_seen_at = waiting_in(self._store.counts()), now
        return None if self._pending_seen < limit else refused(too_many(self._pending_seen, limit))

    def _gives_up(self, one: Waiting, full: Refused | None) -> bool:
        """The last chance to abandon a request. Where the commit may take long from here on, its sender is notified."""
        if self._is_late(one.submit):
            one.otherwise = Expired()
            return True
        if full is not None:
            one.otherwise = full
            return True
        if self._settings.mongo_uri is not None:
            one.peer.send(Begun())
        return False

    def _is_late(self, submit: Submit) -> bool:
        return self._world.monotonic() > submit.deadline

    def _told(self, one: Waiting, insertion: Inserted | KeyTaken | NotUnique | NotAccepted) -> Message:
        if isinstance(insertion, Inserted):
            self.jobs_accepted += insertion.stored
            self._pending_seen += insertion.stored
            if one.submit.by != UNNAMED:
                self._accepted_from[one.submit.by] += len(insertion.job_ids)
            if self._log.is_debug:
                self._log.debug(
                    "jobs_accepted", request_id=one.submit.request_id, job_id=next(iter(insertion.job_ids), None),
                    jobs=len(insertion.job_ids), repeated=insertion.repeated, by=one.submit.by,
                )  # fmt: skip
            existing = insertion.existing if any(job.unique_key for job in one.jobs) else None
            return Accepted(
                job_ids=insertion.job_ids, repeated=insertion.repeated, existing=existing, replaced=insertion.replaced,
                status=insertion.status,
            )  # fmt: skip
        if isinstance(insertion, NotAccepted):
            return _not_accepted(one, insertion)
        if isinstance(insertion, NotUnique):
            return _not_unique(one, insertion)
        at = "" if one.submit.form == "job" else f"jobs[{insertion.index}]: "
        return Refused(
            code="idempotency_conflict", field=f"jobs[{insertion.index}].idempotency_key" if at else "idempotency_key",
            message=f"{at}this idempotency_key was used for job {insertion.job_id} with a different body",
        )  # fmt: skip

    def _look_up(self, one: Waiting) -> Message:
        """The reply to a request that was not stored now: it was stored as a whole before if any of its jobs exists.

        A job that is missing beside one that exists was known by its idempotency key, or has been purged since.
        """
        if not one.submit.is_again:
            return one.otherwise
        try:
            found = self._store.find([job.job_id for job in one.jobs], whole=False)
            stands = [job is not None for job in found]
            if any(stands) and not all(stands) and any(job.idempotency_key for job in one.jobs):
                return self._told(one, self._known(one.jobs))
        except StoreBroken:
            raise
        except JobyardError as wrong:
            return refused(wrong)
        last = found[-1] if found else None
        status = Status.PENDING if last is None or last.attempt else last.status
        return Accepted(job_ids=[job.job_id for job in one.jobs], status=status) if any(stands) else one.otherwise

    def _known(self, jobs: list[Job]) -> Inserted | KeyTaken | NotUnique | NotAccepted:
        (insertion,) = self._store.insert([jobs])
        assert not isinstance(insertion, Abandoned)
        return insertion


def refused(wrong: JobyardError) -> Refused:
    """The reply for an error."""
    retry_after_s = wrong.retry_after_s if isinstance(wrong, Unavailable) else None
    return Refused(
        code=wrong.code, message=wrong.message, field=wrong.field, retry_after_s=retry_after_s, details=wrong.details
    )  # fmt: skip


def _not_unique(one: Waiting, refusal: NotUnique) -> Refused:
    at = "" if one.submit.form == "job" else f"jobs[{refusal.index}]"
    holder = "an earlier job of this request" if refusal.job_id is None else f"job {refusal.job_id}"
    words = f"{holder} holds the unique key {refusal.key!r}"
    return Refused(
        code="not_unique", message=f"{at}: {words}" if at else words, field=f"{at}.unique" if at else "unique",
        details={} if refusal.job_id is None else {"job_id": refusal.job_id},
    )  # fmt: skip


def _not_accepted(one: Waiting, refusal: NotAccepted) -> Refused:
    at = "" if one.submit.form == "job" else f"jobs[{refusal.index}]"
    message = f"{at}: {refusal.message}" if at else refusal.message
    return Refused(code=refusal.code, message=message, field=f"{at}.{refusal.field}" if at else refusal.field)


def _refuse_new(waiting: list[Waiting], full: Refused) -> list[Waiting]:
    """Refuse all but the requests that may store nothing new: empty, sent before, or with a key that may be known."""
    kept = []
    for one in waiting:
        if not one.jobs or one.submit.is_again or any(job.idempotency_key or job.held_key for job in one.jobs):
            kept.append(one)
        else:
            one.peer.send(full)
    return kept
