"""Queries of the MongoDB store by filter rather than by id: pages and counts.

The index of the first filter yields the candidates, newest first. If further filters apply that the index cannot decide, candidates
are queried in runs of limited size; so a page ends in time however rare the matches are, and knows where it ended. A client's text
is never an operator or a pattern: it is escaped and used only where a value is expected.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from bson import ObjectId
from pymongo.errors import ExecutionTimeout

from jobyard.engine.errors import Unavailable
from jobyard.engine.jobs.job import PRIORITIES, Job, JobFilter, Status, without_payload
from jobyard.engine.store.bounds import LOOK_BYTES, UNBOUNDED, shown_bytes
from jobyard.engine.store.mongo.claims import due_index
from jobyard.engine.store.mongo.documents import HIDDEN, Document, cursor_of, document_to_job, down_to, past
from jobyard.engine.store.mongo.server import LIST_INDEXES, NEWEST_FIRST, MongoServer
from jobyard.engine.store.port import Count, Due, Page, Served
from jobyard.engine.store.search_text import Finder, pattern
from jobyard.engine.world import World

TOO_BROAD = "query_too_broad"
LIST_MS = 2_000
RUN_MS = 500
PAGE_S = 0.5
"""After this time no further run is begun, because a scheduler answers nothing else meanwhile."""
AHEAD_MS = 200
RUN, FEW = 5_000, 100
TEXT_RUN, TEXT_LOOK, TEXT_BATCH = 1_000, 5_000, 100


class MongoSearch:
    """Queries on one connection to the server."""

    def __init__(self, server: MongoServer, counts: Callable[[], Mapping[Status, int]], world: World) -> None:
        self._server = server
        self._counts = counts
        self._world = world

    def page(
        self, wanted: JobFilter, *, limit: int, cursor: str | None, max_bytes: int, whole: bool, look: int
    ) -> Page:  # fmt: skip
        """See `Store.list_jobs`."""
        jobs: list[Job] = []
        size = searched = 0
        asked = _Asked(self._rarest_tag_first(wanted))
        ends_at = cursor
        try:
            for run, end in self._runs(asked, cursor, look):
                for document in self._found(asked, run, limit + 1 - len(jobs)):
                    found = document_to_job(document)
                    searched += shown_bytes(found) if asked.finder is not None else 0
                    if asked.is_match(found):
                        job = found if whole else without_payload(found)
                        size += shown_bytes(job)
                        if len(jobs) == limit or (jobs and size > max_bytes):
                            return Page(jobs=jobs, cursor=ends_at)
                        jobs.append(job)
                    ends_at = cursor_of(document)
                    if searched > LOOK_BYTES:
                        return Page(jobs=jobs, cursor=ends_at)
                ends_at = end
        except Unavailable as fault:
            if fault.code != TOO_BROAD or ends_at == cursor:
                raise
        return Page(jobs=jobs, cursor=ends_at)

    def count(self, wanted: JobFilter, *, look: int) -> Count:
        """See `Store.count_jobs`."""
        if wanted in (JobFilter(), JobFilter(status=wanted.status)):
            counts = self._counts()
            return Count(count=sum(counts.values()) if wanted.status is None else counts[wanted.status])
        if wanted.text is not None:
            page = self.page(wanted, limit=look, cursor=None, max_bytes=UNBOUNDED, whole=False, look=look)
            return Count(count=len(page.jobs), is_exact=page.cursor is None)
        asked = _Asked(self._rarest_tag_first(wanted))
        count = 0
        goes_on: str | None = None
        try:
            for run, end in self._runs(asked, None, look):
                goes_on = end
                with self._server.call(), _bounded():
                    count += self._server.jobs.count_documents(
                        asked.matching(run), limit=look, hint=asked.index, maxTimeMS=asked.limit_ms
                    )
        except Unavailable as fault:
            if fault.code != TOO_BROAD:
                raise
            return Count(count=count, is_exact=False)
        return Count(count=count, is_exact=goes_on is None and count < look)

    def count_ahead(self, job: Job, *, now: datetime, served: Served, look: int) -> Count:
        """See `Store.count_ahead`."""
        pending = _pending(served)
        earlier: list[Document] = [{"priority": priority, "scheduled_at": {"$lte": now}} for priority in range(9, job.priority, -1)]
        earlier.append({"priority": job.priority, "scheduled_at": {"$lt": job.scheduled_at}})
        earlier.append({"priority": job.priority, "scheduled_at": job.scheduled_at, "_id": {"$lt": ObjectId(job.job_id)}})
        counts = [self._count(pending | of_priority, served, look) for of_priority in earlier]
        return Count(count=sum(count.count for count in counts), is_exact=all(count.is_exact for count in counts))

    def count_due(self, *, now: datetime, served: Served, look: int) -> Due:
        """See `Store.count_due`."""
        due = {**_pending(served), "scheduled_at": {"$lte": now}}
        counts = [self._count(due | {"priority": priority}, served, look) for priority in PRIORITIES]
        return Due(counts=[count.count for count in counts], is_exact=all(count.is_exact for count in counts))

    def _rarest_tag_first(self, wanted: JobFilter) -> JobFilter:
        """Of several tags the first selects the candidates."""
        if wanted.tag is None or len(wanted.tag) == 1:
            return wanted
        with self._server.call(), _bounded():
            counts = {
                tag: self._server.jobs.count_documents({"tags": tag}, limit=FEW, hint=LIST_INDEXES["tag"], maxTimeMS=AHEAD_MS)
                for tag in wanted.tag
            }
        return msgspec.structs.replace(wanted, tag=tuple(sorted(wanted.tag, key=counts.__getitem__)))

    def _count(self, due: Document, served: Served, look: int) -> Count:
        index: dict[str, Any] = {} if served.tasks is None else {"hint": due_index(served)}
        try:
            with self._server.call(), _bounded():
                count = self._server.jobs.count_documents(due, limit=look, maxTimeMS=AHEAD_MS, **index)
        except Unavailable as fault:
            if fault.code != TOO_BROAD:
                raise
            return Count(count=0, is_exact=False)
        return Count(count=count, is_exact=count < look)

    def _runs(self, asked: _Asked, cursor: str | None, look: int) -> Iterator[tuple[list[Document], str | None]]:
        """The bounds of successive runs of candidates, each with the cursor after it (None after the last)."""
        if not asked.is_narrow:
            yield [past(cursor, "$lt")], None
            return
        looked, look = 0, min(look, asked.most)
        until = self._world.monotonic() + PAGE_S
        while looked < look and (not looked or self._world.monotonic() < until):
            length = min(look - looked, asked.run)
            with self._server.call(), _bounded():
                candidates = self._server.jobs.find(asked.candidates([past(cursor, "$lt")]), {"created_at": 1}).sort(NEWEST_FIRST)
                ends = list(candidates.skip(length - 1).limit(1).hint(asked.index).max_time_ms(RUN_MS))
            end = cursor_of(ends[0]) if ends else None
            yield [past(cursor, "$lt"), down_to(end)], end
            if end is None:
                return
            looked, cursor = looked + length, end

    def _found(self, asked: _Asked, run: list[Document], limit: int) -> Iterator[Document]:
        """The documents that the server finds, at most `limit` if it can decide which match."""
        with self._server.call(), _bounded():
            found = self._server.jobs.find(asked.matching(run)).sort(NEWEST_FIRST)
            found = found.limit(limit) if asked.finder is None else found.batch_size(TEXT_BATCH)
            yield from found.hint(asked.index).max_time_ms(asked.limit_ms)


def _pending(served: Served) -> Document:
    pending: Document = {"status": Status.PENDING.value}
    pending |= {"task": {"$in": list(served.tasks)}} if served.tasks is not None else {}
    return pending | ({"queue": {"$in": list(served.queues)}} if served.queues is not None else {})


class _Asked:
    """The filter in the server's query language."""

    def __init__(self, wanted: JobFilter) -> None:
        named = list(_named(wanted))
        self.index, first = named[0] if named else ("newest", {})
        self.is_narrow = len(named) > 1 or wanted.text is not None
        self.limit_ms = RUN_MS if self.is_narrow else LIST_MS
        self.run, self.most = (RUN, 1 << 62) if wanted.text is None else (TEXT_RUN, TEXT_LOOK)
        self._first: Document = {"status": {"$nin": HIDDEN}} | first
        of_text = [_containing(wanted.text)] if wanted.text is not None else []
        self._all: list[Document] = [*(condition for _, condition in named), *_created(wanted), *of_text]
        self._bounds = _created(wanted)
        self.finder = Finder(wanted.text) if wanted.text is not None else None
        """The server's pattern for a text finds a little more than the text."""

    def candidates(self, run: list[Document]) -> Document:
        """The part that the index decides."""
        return self._first | _together([*self._bounds, *run])

    def matching(self, run: list[Document]) -> Document:
        """All that the server can decide."""
        return self._first | _together([*self._all, *run])

    def is_match(self, job: Job) -> bool:
        """Whether a job that the server found matches the whole filter."""
        return self.finder is None or self.finder.finds(job.payload, job.error)


def _named(wanted: JobFilter) -> Iterator[tuple[str, Document]]:
    """What an index decides each by itself, with that index."""
    for name, index in LIST_INDEXES.items():
        value = getattr(wanted, name)
        if name == "tag":
            yield from ((index, {"tags": tag}) for tag in value or ())
        elif value is not None:
            yield index, {name: str(value)}


def _together(conditions: Iterable[Document]) -> Document:
    given = [condition for condition in conditions if condition]
    return {"$and": given} if given else {}


def _created(wanted: JobFilter) -> list[Document]:
    after = {"$gte": wanted.created_after} if wanted.created_after is not None else {}
    before = {"$lt": wanted.created_before} if wanted.created_before is not None else {}
    return [{"created_at": after | before}] if after or before else []


def _containing(text: str) -> Document:
    return {"$or": [_like("payload", pattern(text)), _like("error", re.escape(text))]}


def _like(name: str, pattern: str) -> Document:
    return {name: {"$regex": pattern, "$options": "i"}}


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Convert the server's time limit error: a slow query is the client's concern, not a failure of the database."""
    try:
        yield
    except ExecutionTimeout as fault:
        raise Unavailable(TOO_BROAD, "too many jobs would have to be examined; use fewer filters or more selective ones") from fault
