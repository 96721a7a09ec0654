"""Applies changes of jobs within a transaction: the job, its execution and output, counts, slots, and what hooks make of it."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence

from jobyard.engine.jobs.job import Execution, ExecutionStatus
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.sqlite import engine, rows, statements
from jobyard.engine.store.sqlite.lanes import SqliteLanes


class GuardLost(Exception):
    """One of several changes in a batch did not match; they must be applied one by one to find out which."""


class SqliteChanges:
    """The changes of one connection. `deltas` are the counts that the transaction changes; `tell` gets what was applied."""

    def __init__(
        self, connection: sqlite3.Connection, *, deltas: Counter[str], lanes: SqliteLanes, tell: Callable[[Sequence[Change]], None]
    ) -> None:  # fmt: skip
        self._connection = connection
        self._run = connection.execute
        self._deltas = deltas
        self._lanes = lanes
        self._tell = tell

    def apply_all(self, changes: Sequence[Change]) -> None:
        """All of them, those of one shape by one statement; raises `GuardLost`."""
        for shape, alike in itertools.groupby(changes, key=_shape):
            same = list(alike)
            changed = self._connection.executemany(statements.change_job(*shape), map(rows.change_to_row, same)).rowcount
            if changed != len(same):
                raise GuardLost
        self._connection.executemany(statements.STORE_EXECUTION, map(rows.execution_to_row, filter(None, map(_ended, changes))))
        self._follow(changes)

    def apply(self, change: Change) -> bool:
        """This one; whether its guard matched."""
        try:
            if self._run(statements.change_job(*_shape(change)), rows.change_to_row(change)).rowcount != 1:
                return False
        except engine.sqlite3.IntegrityError:  # another job has the key that the change takes
            return False
        execution = _ended(change)
        if execution is not None:
            self._run(statements.STORE_EXECUTION, rows.execution_to_row(execution))
        self._follow([change])
        return True

    def _follow(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.output is not None:
                self._run(statements.STORE_OUTPUT, rows.output_to_row(change.output))
            self._deltas[change.status] -= 1
            self._deltas[str(change.fields["status"])] += 1
        self._lanes.follow(changes)
        self._tell(changes)


def _shape(change: Change) -> tuple[tuple[str, ...], bool, bool]:
    return tuple(change.fields), change.unless_cancelled, change.unless_extended is not None


def _ended(change: Change) -> Execution | None:
    """The execution to store with a change; none while an attempt runs, because the job's row describes it."""
    execution = change.execution
    return None if execution is None or execution.status is ExecutionStatus.RUNNING else execution
