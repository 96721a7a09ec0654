"""Claims due jobs on SQLite: a few columns decide which jobs begin where; then one statement per group changes and returns them."""

from __future__ import annotations

import contextlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from jobyard.engine.jobs.job import PRIORITIES, Job
from jobyard.engine.jobs.lifecycle import given_up_by_begin
from jobyard.engine.store.port import Allocation, Candidate, Count, Due, Served
from jobyard.engine.store.sqlite import rows, statements

LOWEST, HIGHEST = -1, 10
"""Before and behind all priorities."""
PORTIONS = (64, 16, 4, 1)
FEW = 64
"""At least so many candidates are read at once, so that a few that cannot be placed do not hide those behind them."""


@dataclass(frozen=True, slots=True)
class Group:
    """The pending jobs of one task and priority (and queue, where the index begins with it). `key`: as in the index."""

    key: tuple[Any, ...]
    due: int

    @property
    def priority(self) -> int:
        """The last part of the key."""
        return int(self.key[-1])


class SqliteClaims:
    """The claims of one connection. `run` executes a statement.

    The index of due jobs begins with the task, or where `QUEUES` is set with queue and task. So jobs that nobody here serves cost
    nothing, however many they are. In return, the jobs of a priority are in as many places as there are tasks, and are merged.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run
        self._has_queue_index = bool(run(statements.HAS_QUEUE_INDEX).fetchone()[0])
        self.except_queues: tuple[str, ...] = ()
        """Queues whose jobs may not be claimed as if they were under no limit."""

    def groups(self, served: Served) -> list[Group]:
        """The groups that have pending jobs, and when the first job of each is due (ms); one look into the index for each."""
        next_group = self._due(served).next_group
        queues = [(queue,) for queue in served.queues or ()] if self._by_queue(served) else [()]
        return [group for queue in queues for group in self._groups_from(next_group, (*queue, "", LOWEST), served)]

    def _groups_from(self, next_group: str, key: tuple[Any, ...], served: Served) -> Iterator[Group]:
        queue = key[:-2]
        while (found := self._run(next_group, key).fetchone()) is not None and found[: len(queue)] == queue:
            key = found[:-1]
            if served.tasks is not None and key[-2] not in served.tasks:
                key = (*key[:-1], HIGHEST)
            else:
                yield Group(key, found[-1])

    def due(self, now_ms: int, limit: int, served: Served) -> list[Job]:
        """See `Store.due`."""
        found: list[rows.Row] = []
        for groups in _by_priority(self.groups(served)):
            with self._merged(self._due(served).listed, groups, served, (now_ms,), limit - len(found)) as listed:
                found += listed
        return [rows.row_to_job(row[2:]) for row in found]

    def count_due(self, now_ms: int, served: Served, look: int) -> Due:
        """See `Store.count_due`."""
        counts, is_exact = [0 for _ in PRIORITIES], True
        for groups in _by_priority(self.groups(served)):
            counted = self._count(self._due(served).counted, groups, served, (now_ms,), look)
            counts[groups[0].priority] = counted.count
            is_exact = is_exact and counted.is_exact
        return Due(counts=counts, is_exact=is_exact)

    def count_ahead(self, job: Job, now_ms: int, served: Served, look: int) -> Count:
        """See `Store.count_ahead`."""
        ask, count, is_exact = self._due(served), 0, True
        place = (rows.to_ms(job.scheduled_at), rows.to_blob(job.job_id))
        for groups in _by_priority(self.groups(served)):
            if groups[0].priority >= job.priority:
                question, until = (ask.counted_before, place) if groups[0].priority == job.priority else (ask.counted, (now_ms,))
                counted = self._count(question, groups, served, until, look)
                count += counted.count
                is_exact = is_exact and counted.is_exact
        return Count(count=count, is_exact=is_exact)

    def choose(
        self, groups: Sequence[Group], now_ms: int, allocation: Allocation, served: Served
    ) -> tuple[dict[int, str], bool]:  # fmt: skip
        """The jobs to claim, as `seq` → worker, in claiming order, and whether any were due.

        `groups`: those that had due jobs a moment ago.
        """
        chosen: dict[int, str] = {}
        is_any_due = False
        for of_priority in _by_priority(groups):
            lost_below: int | None = None
            while allocation.most:
                limit, looked, skipped = max(allocation.most, FEW), 0, None
                asked = (now_ms, lost_below, now_ms)
                with self._merged(self._due(served).claimable, of_priority, served, asked, limit) as candidates:
                    for _, seq, task, lost_count, size in candidates:
                        looked += 1
                        if seq in chosen:
                            continue
                        worker = allocation.place(Candidate(task=task, lost_count=lost_count, size=size))
                        if worker is not None:
                            chosen[seq] = worker
                        else:
                            skipped = lost_count if skipped is None else min(skipped, lost_count)
                        if not allocation.most:
                            break
                is_any_due = is_any_due or looked > 0
                if not skipped or looked < limit:  # only jobs that were lost before are skipped while there is room
                    break
                lost_below = skipped
        return chosen, is_any_due

    @contextlib.contextmanager
    def _merged(
        self, question: str, groups: Sequence[Group], served: Served, values: tuple[Any, ...], limit: int
    ) -> Iterator[Iterator[rows.Row]]:  # fmt: skip
        """At most `limit` rows of the groups, which begin with `scheduled_at` and `seq`, in this order."""
        cursors = [self._run(question, (*group.key, *self._among(served), *values, limit)) for group in groups if limit > 0]
        try:
            yield islice(cursors[0] if len(cursors) == 1 else heapq.merge(*cursors, key=lambda row: row[:2]), max(0, limit))
        finally:
            for cursor in cursors:
                cursor.close()

    def _count(self, question: str, groups: Sequence[Group], served: Served, until: tuple[Any, ...], look: int) -> Count:
        """Of at most `look` jobs that are examined."""
        count = 0
        among = self._among(served)
        for group in groups:
            looked, found = self._run(question, (*among, *group.key, *until, look)).fetchone()
            count, look = count + found, look - looked
            if look <= 0:
                break
        return Count(count=count, is_exact=look > 0)

    def _by_queue(self, served: Served) -> bool:
        return served.queues is not None and self._has_queue_index

    def _among(self, served: Served) -> tuple[str, ...]:
        among = () if not self._is_among(served) else (json.dumps(served.queues),)
        return (*among, json.dumps(self.except_queues)) if self.except_queues else among

    def _is_among(self, served: Served) -> bool:
        return served.queues is not None and not self._by_queue(served)

    def _due(self, served: Served) -> statements.Due:
        return statements.due(self._by_queue(served), self._is_among(served), bool(self.except_queues))

    def begin(self, chosen: dict[int, str], owner: str, now: datetime, until: datetime) -> list[rows.Row]:
        """Change the chosen jobs; their rows (`seq`, then `BEGUN_COLUMNS`) in claiming order."""
        now_ms, until_ms = rows.to_ms(now), rows.to_ms(until)
        by_worker: dict[str, list[int]] = {}
        for seq, worker in chosen.items():
            by_worker.setdefault(worker, []).append(seq)
        begun: dict[int, rows.Row] = {}
        for worker, seqs in by_worker.items():
            for some in portions(seqs):
                values = (owner, now_ms, worker, until_ms, *some)
                begun |= {row[0]: row for row in self._run(statements.claim(len(some)), values).fetchall()}
        for seq, row in begun.items():
            if row[-1] is not None and given_up_by_begin(rows.begun_to_job(row[1:], owner, now, until), now):
                self._run(statements.GIVE_UP_KEY, (seq,))
        return [begun[seq] for seq in chosen if seq in begun]


def portions(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Portions of only a few different sizes, because each size needs a statement of its own."""
    start = 0
    for size in PORTIONS:
        while len(keys) - start >= size:
            yield keys[start : start + size]
            start += size


def _by_priority(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups of each priority, highest first."""
    in_order = sorted(groups, key=lambda group: group.priority, reverse=True)
    return [list(alike) for _, alike in groupby(in_order, key=lambda group: group.priority)]
