"""Claims due jobs on SQLite: a few columns decide which jobs begin where; then one statement per group changes and returns them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from jobyard.engine.jobs.job import PRIORITIES, Job
from jobyard.engine.jobs.lifecycle import given_up_by_begin
from jobyard.engine.store.port import Allocation, Candidate, Due, Served
from jobyard.engine.store.sqlite import rows, statements

PORTIONS = (64, 16, 4, 1)
FEW = 64
"""At least so many candidates are read at once, so that a few that cannot be placed do not hide those behind them."""


class SqliteClaims:
    """The claims of one connection. `run` executes a statement."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def first_due(self, served: Served) -> list[tuple[int, int]]:
        """The priorities that have pending jobs, and when the first job of each is due (ms)."""
        ask, what = _due(served)
        return [(priority, due) for priority, due in self._run(ask.first, (_PRIORITIES, *what)) if due is not None]

    def due(self, now_ms: int, limit: int, served: Served) -> list[Job]:
        """See `Store.due`."""
        ask, what = _due(served)
        found: list[Job] = []
        for priority in reversed(PRIORITIES):
            if len(found) < limit:
                found += map(rows.row_to_job, self._run(ask.listed, (priority, *what, now_ms, limit - len(found))))
        return found

    def count_due(self, now_ms: int, served: Served, look: int) -> Due:
        """See `Store.count_due`."""
        what = {**served_values(served), "now": now_ms, "look": look}
        counted = [self._run(statements.COUNT_DUE, {**what, "priority": priority}).fetchone() for priority in PRIORITIES]
        return Due(counts=[found for _, found in counted], is_exact=all(looked < look for looked, _ in counted))

    def choose(
        self, due: Sequence[int], now_ms: int, allocation: Allocation, served: Served
    ) -> tuple[dict[int, str], bool]:  # fmt: skip
        """The jobs to claim, as `seq` → worker, in claiming order, and whether any were due.

        `due`: the priorities that had due jobs a moment ago.
        """
        chosen: dict[int, str] = {}
        is_any_due = False
        for priority in sorted(due, reverse=True):
            lost_below: int | None = None
            while allocation.most:
                limit = max(allocation.most, FEW)
                skipped = None
                found = self._candidates(priority, now_ms, served, lost_below, limit)
                is_any_due = is_any_due or bool(found)
                for seq, task, lost_count, size in found:
                    if seq in chosen:
                        continue
                    worker = allocation.place(Candidate(task=task, lost_count=lost_count, size=size))
                    if worker is not None:
                        chosen[seq] = worker
                    else:
                        skipped = lost_count if skipped is None else min(skipped, lost_count)
                    if not allocation.most:
                        break
                if not skipped or len(found) < limit:  # only jobs that were lost before are skipped while there is room
                    break
                lost_below = skipped
        return chosen, is_any_due

    def _candidates(self, priority: int, now_ms: int, served: Served, lost_below: int | None, limit: int) -> list[Any]:
        ask, what = _due(served)
        asked = (priority, *what, now_ms, lost_below, limit)
        found: list[Any] = self._run(ask.claimable, asked).fetchall()
        return found

    def begin(self, chosen: dict[int, str], owner: str, now: datetime, lease_s: float) -> list[rows.Row]:
        """Change the chosen jobs; their rows (`seq`, then `READ_COLUMNS`) in claiming order."""
        now_ms, until_ms = rows.to_ms(now), rows.to_ms(now + timedelta(seconds=lease_s))
        by_worker: dict[str, list[int]] = {}
        for seq, worker in chosen.items():
            by_worker.setdefault(worker, []).append(seq)
        begun: dict[int, rows.Row] = {}
        for worker, seqs in by_worker.items():
            for some in portions(seqs):
                values = (owner, now_ms, worker, until_ms, *some)
                begun |= {row[0]: row for row in self._run(statements.claim(len(some)), values).fetchall()}
        for seq, row in begun.items():
            if row[-1] is not None and given_up_by_begin(rows.row_to_job(row[1:]), now):
                self._run(statements.GIVE_UP_KEY, (seq,))
        return [begun[seq] for seq in chosen if seq in begun]


def portions(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Portions of only a few different sizes, because each size needs a statement of its own."""
    start = 0
    for size in PORTIONS:
        while len(keys) - start >= size:
            yield keys[start : start + size]
            start += size


def served_values(served: Served) -> dict[str, str | None]:
    """What is served, as named parameters."""
    return {
        "tasks": None if served.tasks is None else json.dumps(served.tasks),
        "queues": None if served.queues is None else json.dumps(served.queues),
    }


_PRIORITIES = json.dumps([*PRIORITIES])


@lru_cache(maxsize=8)
def _due(served: Served) -> tuple[statements.Due, tuple[str, ...]]:
    what = tuple(json.dumps(names) for names in (served.tasks, served.queues) if names is not None)
    return statements.due(served.tasks is not None, served.queues is not None), what
