"""What every store promises. The adapters (`sqlite`, `mongo`) have nothing to add to these words; one suite tests them all.

Values in, values out: no cursor, client or SQL crosses this line, and no store reads a clock or throws dice. Times are
aware UTC datetimes in milliseconds. Every write is one transaction, whole or not at all, and a guarded one: whoever comes with
an older epoch changes nothing. A store is opened after the fork by the process that uses it, and never carried over one.

Any method may raise `StoreUnavailable`; then the transaction did not happen, or its reply was lost and the guard tells (of an
`insert`, `may_be_stored` tells which, and the same jobs inserted again are stored once).

Several hosts may share a store. Such a store is also `Hosts`: it keeps each host's sign of life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from jobyard.engine.jobs.job import Execution, Job, JobFilter, Output, Status, Ticket
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.bounds import AHEAD_LOOK, COUNT_LOOK, EXECUTIONS_BYTES, LOOK, OUTPUTS_BYTES


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first; `cursor` leads to the next page, None when there is none."""

    jobs: list[Job]
    cursor: str | None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are; unless `is_exact` there are that many at least, and nobody looked further."""

    count: int
    is_exact: bool = True


class Inserted(msgspec.Struct, frozen=True, kw_only=True):
    """A request is stored. `job_ids` in the order of its jobs; `repeated` says how many of them were there already."""

    job_ids: list[str]
    repeated: int = 0


class KeyTaken(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored: job number `index` has an idempotency key that an other request body took."""

    index: int
    job_id: str


class Abandoned(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored: its client is no longer waiting."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim won; `conflicts` counts the due jobs that it saw and that somebody else took first."""

    tickets: list[Ticket]
    conflicts: int = 0


Record = tuple[Job, list[Execution], list[Output]]
"""A job with all that is stored of it."""

Insertion = Inserted | KeyTaken | Abandoned
Seen = Callable[[list[Insertion]], None]


def nobody(insertions: list[Insertion]) -> None:
    """Hears of nothing."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a host can work on: only jobs of these tasks and queues are its to claim; None means any."""

    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None


ANYTHING = Served()


class HostHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A host's sign of life. `renewal` only ever rises; `seen_at` is for people, by that host's own clock.

    A host is one start of Jobyard, named by its boot. `lease_s` is its own setting, `tasks` are those it serves, as JSON text
    (name → options), `queues` those whose jobs it runs (None: all).
    """

    boot: str
    host: str
    renewal: int
    seen_at: datetime
    lease_s: float = 30
    tasks: bytes = b"{}"
    queues: tuple[str, ...] | None = None


class Store(Protocol):
    """The source of truth."""

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        """T1. Store each request's jobs, all of one request or none of it, in one commit that is on disk when this returns.

        A job whose `job_id` is stored already is the same request come again: nothing changes, and it counts as stored
        (not as repeated). A job whose `idempotency_key` is stored with the same `request_digest` is answered with that job's id
        (counted in `repeated`), with another digest it refuses its whole request. The same holds between jobs of one call.
        `abandoned(i)` is asked for each request that would store a job, when nothing but the commit is left to wait for; one whose
        jobs are all known by their keys is answered in any case. `seen` hears what came of
        them as soon as others may see it; whether it will be on disk is not certain then.
        """

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        """The jobs of these ids, in this order; None where there is none. Not `whole`: see `jobs.job.without_payload`."""

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        """Those of them that have ended or are not there; cheap for many."""

    def version(self) -> object | None:
        """Other than at the last call if anything was committed since, by whomever; cheap. None: that cannot be told."""

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = 8 << 20, whole: bool = True,
        look: int = LOOK,
    ) -> Page:  # fmt: skip
        """Newest first by `created_at`, at most `limit`, and no more than the first job past `max_bytes` of payload and result.

        A page ends early, perhaps empty, but with a cursor, once `look` jobs were looked at or about `LOOK_BYTES` of their texts.
        The cursor is opaque text. Jobs that are inserted later never shift or repeat a page. Not `whole`: without payloads.
        Raises `InvalidRequest` (code `invalid_cursor`) when the cursor is none of ours.
        """

    def count_jobs(self, wanted: JobFilter, *, look: int = COUNT_LOOK) -> Count:
        """Such jobs, of `look` that were looked at, or fewer where that takes long."""

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Count:
        """The due pending jobs that a claim takes before this pending one, of `look` of each priority that were looked at."""

    def counts(self) -> dict[Status, int]:
        """Jobs by status, all seven; exact, and cheap however many jobs are stored."""

    def next_due(self, *, limits: Sequence[int], served: Served = ANYTHING) -> datetime | None:
        """The earliest `scheduled_at` of the served pending jobs of those priorities 0 to 9 whose limit is above 0, or None."""

    def claim_due(self, *, owner: str, now: datetime, limits: Sequence[int], served: Served = ANYTHING) -> Claimed:
        """T2 and T3 in one breath, for many: due jobs become `queued`, claimed by `owner`, epoch + 1; one claimer wins each.

        Highest priority first, then by `scheduled_at`, then in the order of insertion; at most `limits[p]` of priority p. The
        caller has room for them in its queue. The tickets come in that order. Takes no lock when nothing is due. May take
        fewer than it could, never none. A claim whose reply was lost is answered by the next call of the same store.
        """

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Each change whole or not at all, all in one commit; True where the guard matched. Later ones see earlier ones.

        A change with an execution stores that row (`job_id`, `attempt`) in the same transaction. So with an output, which may be
        missing afterwards where a death or a lost connection comes between the two and a transaction is one document.
        """

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        """Jobs in `claimed`, `queued` or `running` whose `Job.holder` is the owner, by `job_id`, past the id `after`.

        All are `jobs.job.without_payload`: that is enough to take them back.
        """

    def queued_by(self, owner: str, *, limit: int, after: str | None = None, until: datetime | None = None) -> list[Ticket]:
        """The tickets of those of them that are `queued`, in the same order; `until`: only what was queued then or before."""

    def holders(self) -> list[str]:
        """Every owner that holds at least one job now."""

    def cancel_requests(self, owner: str) -> list[str]:
        """Ids of the jobs that this owner runs and somebody asked to cancel."""

    def executions(self, job_id: str, *, max_bytes: int = EXECUTIONS_BYTES) -> list[Execution]:
        """The latest attempts at a job, oldest first: no more than the first past `max_bytes`.

        Each counts `ROW_BYTES` and what its texts have in UTF-8.
        """

    def outputs(self, job_id: str, *, max_bytes: int = OUTPUTS_BYTES) -> list[Output]:
        """What the latest attempts that printed something left, oldest first: no more than the first past `max_bytes` of UTF-8."""

    def purge(self, *, before: datetime, limit: int) -> int:
        """T16. Remove at most `limit` jobs that finished before that time, oldest first, with all that is theirs; how many."""

    def mend(self, *, now: datetime, thorough: bool) -> None:
        """Finish or undo what a writer left half done that died long before `now`; `thorough`: recount the jobs, too."""

    def ping(self) -> str:
        """Proof that the database answers: a few words on which one it is (`SQLite 3.53.4`)."""

    def close(self) -> None:
        """Let go of the database; the store is of no use afterwards."""


class Feed(Protocol):
    """Tells, as soon as it can, that another host has accepted jobs; what it misses the next poll finds."""

    @property
    def fd(self) -> int:
        """Becomes readable then."""

    def clear(self) -> None:
        """Heard; call it before looking."""


@runtime_checkable
class Hosts(Protocol):
    """Which hosts live, in a store that several share; see `hosts.failure_detector` for what follows from it."""

    def renew(self, sign: HostHeartbeat) -> None:
        """This host lives: its renewal rises by one (the sign's own number is ignored), the rest is as it says."""

    def hosts(self) -> list[HostHeartbeat]:
        """Every host that is known, in no order; nobody can have seen an older state than another before it."""

    def forget_host(self, boot: str, *, renewal: int) -> None:
        """Remove a host that still has this renewal: it is silent and holds nothing."""
