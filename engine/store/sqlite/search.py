"""Queries of the SQLite store by filter rather than by id: pages and counts.

Each query bounds how many rows it examines, because a scheduler serves nothing else meanwhile. The index of the first filter yields
the candidates, newest first; all other filters are checked on each candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.job import Job, JobFilter, Status, without_payload
from jobyard.engine.store.bounds import LOOK, LOOK_BYTES, UNBOUNDED, shown_bytes
from jobyard.engine.store.port import Count, Page
from jobyard.engine.store.search_text import Finder
from jobyard.engine.store.sqlite import rows, statements

CREATED_AT, PAYLOAD, RESULT, ERROR = (rows.READ_COLUMNS.index(name) for name in ("created_at", "payload", "result", "error"))
NAMED = ("unique_key", "schedule", "group", "tag", "error_kind", "status", "task", "queue")
"""The first of those that are given selects the index."""
FIRST, LAST = (1 << 62, 0), -(1 << 62)
FEW = 100
Place = tuple[int, int]
"""`created_at` in milliseconds and `seq`: the sort order of a list."""


class SqliteSearch:
    """Queries on one connection; `run` executes a statement."""

    def __init__(self, run: Callable[..., Any], counts: Callable[[], Mapping[Status, int]]) -> None:
        self._run = run
        self._counts = counts

    def page(
        self, wanted: JobFilter, *, limit: int, cursor: str | None, max_bytes: int, whole: bool, look: int
    ) -> Page:  # fmt: skip
        """See `Store.list_jobs`."""
        place = _read_cursor(cursor) if cursor is not None else FIRST
        wanted = self._rarest_tag_first(wanted)
        question = statements.list_jobs(_named(wanted), whole=whole or wanted.text is not None)
        finder = Finder(wanted.text) if wanted.text is not None else None
        jobs: list[Job] = []
        size = looked = searched = 0
        for seq, fits, *row in self._run(question, _values(wanted, place)):
            if fits and finder is not None:
                searched += len(row[PAYLOAD]) + len(row[RESULT] or b"") + len(row[ERROR] or "")
                fits = finder.finds(row[PAYLOAD], row[ERROR])
            if fits:
                job = rows.row_to_job(row) if whole else without_payload(rows.row_to_job(row))
                size += shown_bytes(job)
                if len(jobs) == limit or (jobs and size > max_bytes):
                    return Page(jobs=jobs, cursor=_cursor(place))
                jobs.append(job)
            place = (row[CREATED_AT], seq)
            looked += 1
            if looked >= look or searched > LOOK_BYTES:
                return Page(jobs=jobs, cursor=_cursor(place))
        return Page(jobs=jobs, cursor=None)

    def count(self, wanted: JobFilter, *, look: int) -> Count:
        """See `Store.count_jobs`."""
        if wanted in (JobFilter(), JobFilter(status=wanted.status)):
            counts = self._counts()
            return Count(count=sum(counts.values()) if wanted.status is None else counts[wanted.status])
        if wanted.text is not None:
            return self._count_found(wanted, min(look, LOOK))
        wanted = self._rarest_tag_first(wanted)
        looked, count = self._run(statements.count_jobs(_named(wanted)), {**_values(wanted, FIRST), "look": look}).fetchone()
        return Count(count=count, is_exact=looked < look)

    def _rarest_tag_first(self, wanted: JobFilter) -> JobFilter:
        """Of several tags the first selects the candidates; counting a few jobs of each is much less than examining many."""
        if wanted.tag is None or len(wanted.tag) == 1:
            return wanted
        counts = {tag: self._run(statements.COUNT_TAG, (tag, FEW)).fetchone()[0] for tag in wanted.tag}
        return msgspec.structs.replace(wanted, tag=tuple(sorted(wanted.tag, key=counts.__getitem__)))

    def _count_found(self, wanted: JobFilter, look: int) -> Count:
        page = self.page(wanted, limit=look, cursor=None, max_bytes=UNBOUNDED, whole=False, look=look)
        return Count(count=len(page.jobs), is_exact=page.cursor is None)


def _named(wanted: JobFilter) -> tuple[str, ...]:
    named = (name for name in NAMED if getattr(wanted, name) is not None)
    return tuple(one for name in named for one in (_tags(wanted) if name == "tag" else [name]))


def _tags(wanted: JobFilter) -> dict[str, str]:
    return {f"{statements.TAG}{number}": tag for number, tag in enumerate(wanted.tag or ())}


def _values(wanted: JobFilter, place: Place) -> dict[str, object]:
    if wanted.created_before is not None:
        place = min(place, (rows.to_ms(wanted.created_before) or 0, 0))
    after = LAST if wanted.created_after is None else rows.to_ms(wanted.created_after)
    named = {name: str(getattr(wanted, name)) for name in NAMED if getattr(wanted, name) is not None and name != "tag"}
    return {**named, **_tags(wanted), "at": place[0], "seq": place[1], "after": after}


def _cursor(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def _read_cursor(cursor: str) -> Place:
    at, _, seq = cursor.rpartition("-")
    sign, digits = (-1, at[1:]) if at.startswith("-") else (1, at)
    if not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (digits, seq)):
        shown = cursor[:100]
        raise InvalidRequest("invalid_cursor", f"the cursor {shown!r} is not valid; use the one from the Link header", "cursor")
    return sign * int(digits), int(seq)
