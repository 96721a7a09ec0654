"""Who waits for whom on SQLite: the table `edges`, and the jobs' own marks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import Dependency, Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.store.sqlite import rows, statements
from jobyard.engine.store.sqlite.claims import portions
from jobyard.engine.workflows.port import Group, Unresolved
from jobyard.engine.workflows.rules import GroupStanding, Standing

INSERT_EDGE = "INSERT OR IGNORE INTO edges VALUES (?, ?)"
_AWAITED = "FROM jobs INDEXED BY jobs_awaited WHERE is_awaited = 1 AND finished_at IS NOT NULL"
_TO_RESOLVE = "FROM jobs INDEXED BY jobs_to_resolve WHERE to_resolve = 1"
IS_ANY_UNRESOLVED = f"SELECT EXISTS (SELECT 1 {_AWAITED}) OR EXISTS (SELECT 1 {_TO_RESOLVE})"
_MARKED = "SELECT job_id, status, epoch, group_name, is_awaited, to_resolve"
AWAITED = f"{_MARKED} {_AWAITED} ORDER BY finished_at LIMIT ?"
TO_RESOLVE = f"{_MARKED} {_TO_RESOLVE} LIMIT ?"
RESOLVED = """
    UPDATE jobs SET to_resolve = NULL, is_awaited = CASE WHEN is_awaited IS NULL THEN NULL ELSE finished_at IS NULL END
    WHERE job_id = ? AND epoch = ?
"""
AWAIT = """
    UPDATE jobs SET is_awaited = finished_at IS NULL, extra = COALESCE(extra, '{}')
    WHERE job_id = ?1 AND (is_awaited IS NULL OR (is_awaited = 0 AND finished_at IS NULL))
"""
STANDINGS = "SELECT job_id, status, finished_at FROM jobs WHERE job_id IN ({})"
IS_GROUP_ALIVE = """
    SELECT EXISTS (
        SELECT 1 FROM jobs INDEXED BY jobs_living_members WHERE group_name = ? AND group_name IS NOT NULL AND finished_at IS NULL
    )
"""
FIRST_BAD = """
    SELECT job_id, status, finished_at FROM jobs INDEXED BY jobs_in_groups WHERE group_name = ? AND status = ?
    ORDER BY finished_at LIMIT 1
"""
LAST_ENDED = "SELECT MAX(finished_at) FROM jobs INDEXED BY jobs_in_groups WHERE group_name = ? AND status = ?"
IS_MEMBER = "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_by_group WHERE group_name = ?)"
IS_AWAITED = "SELECT EXISTS (SELECT 1 FROM edges WHERE dependency = ?)"
WAITING_MEMBERS = "SELECT DISTINCT job_id FROM edges JOIN jobs USING (job_id) WHERE group_name = ?"
EDGES_OF = "SELECT job_id, extra FROM jobs WHERE job_id IN ({}) AND extra IS NOT NULL"
DEPENDENTS = f"""
    SELECT {statements.SMALL} FROM jobs
    WHERE job_id IN (SELECT job_id FROM edges WHERE dependency IN (SELECT value FROM json_each(?1)) AND job_id > ?2)
        AND (?3 IS NULL OR status = ?3)
    ORDER BY job_id LIMIT ?4
"""
BLOCKED = f"""
    SELECT {statements.SMALL} FROM jobs INDEXED BY jobs_by_status
    WHERE status = 'blocked' AND job_id > ? AND updated_at < ? ORDER BY job_id LIMIT ?
"""
GROUP_COUNTS = "SELECT status, COUNT(*) FROM jobs INDEXED BY jobs_in_groups WHERE group_name = ? GROUP BY status"
GROUP_BEGAN = "SELECT MIN(created_at) FROM jobs INDEXED BY jobs_by_group WHERE group_name = ?"
WAITING_FOR = """
    SELECT job_id FROM edges JOIN jobs USING (job_id) WHERE dependency = ? AND finished_at IS NULL ORDER BY job_id LIMIT 100
"""
LIVING_GROUPS = """
    WITH RECURSIVE living(name) AS (
        SELECT MIN(group_name) FROM jobs INDEXED BY jobs_living_members WHERE group_name IS NOT NULL AND finished_at IS NULL
        UNION ALL
        SELECT (
            SELECT MIN(group_name) FROM jobs INDEXED BY jobs_living_members
            WHERE group_name > living.name AND group_name IS NOT NULL AND finished_at IS NULL
        ) FROM living WHERE living.name IS NOT NULL LIMIT ?1
    )
    SELECT name FROM living WHERE name IS NOT NULL
    ORDER BY (SELECT MIN(created_at) FROM jobs INDEXED BY jobs_by_group WHERE group_name = living.name) DESC LIMIT ?2
"""
_COMPLETED = "FROM jobs WHERE job_id IN ({}) AND status = 'completed' AND result IS NOT NULL"
RESULT_BYTES = f"SELECT SUM(length(result)) {_COMPLETED}"
RESULTS = f"SELECT job_id, result {_COMPLETED}"
READER = "SELECT job_id FROM edges JOIN jobs USING (job_id) WHERE dependency IN (?, ?) AND finished_at IS NULL LIMIT 1"
GROUPS_LOOK = 10_000


class SqliteWorkflows:
    """See `WorkflowStore`. `commit` makes one transaction, `reading` translates errors."""

    def __init__(
        self, connection: sqlite3.Connection, *, commit: Callable[[], AbstractContextManager[None]],
        reading: Callable[[], AbstractContextManager[None]],
    ) -> None:  # fmt: skip
        self._run = connection.execute
        self._run_many = connection.executemany
        self._commit = commit
        self._reading = reading

    # ---- what is to be done

    def may_have_unresolved(self) -> bool:
        """See `WorkflowStore`."""
        with self._reading():
            return bool(self._run(IS_ANY_UNRESOLVED).fetchone()[0])

    def unresolved(self, *, limit: int) -> list[Unresolved]:
        """See `WorkflowStore`."""
        with self._reading():
            found = {row[0]: row for row in [*self._run(TO_RESOLVE, (limit,)), *self._run(AWAITED, (limit,))][:limit]}
        return [
            Unresolved(job_id.hex(), rows.STATUSES[status], epoch, group, rows.flag(is_awaited), rows.flag(to_resolve))
            for job_id, status, epoch, group, is_awaited, to_resolve in found.values()
        ]

    def resolved(self, jobs: Sequence[Unresolved]) -> None:
        """See `WorkflowStore`."""
        with self._commit():
            self._run_many(RESOLVED, [(rows.to_blob(job.job_id), job.epoch) for job in jobs])

    def await_all(self, job_ids: Sequence[str]) -> None:
        """See `WorkflowStore`."""
        with self._commit():
            self.await_now(job_ids)

    def await_now(self, job_ids: Sequence[str]) -> None:
        """The same, within the caller's transaction."""
        self._run_many(AWAIT, [(rows.to_blob(job_id),) for job_id in job_ids])

    # ---- facts

    def standings(self, job_ids: Collection[str]) -> dict[str, Standing]:
        """See `Facts`."""
        found: dict[str, Standing] = {}
        with self._reading():
            for some in portions(list(job_ids)):
                question = STANDINGS.format(", ".join("?" * len(some)))
                for row in self._run(question, [rows.to_blob(job_id) for job_id in some]):
                    standing = _standing(row)
                    found[standing.job_id] = standing
        return found

    def group_standing(self, name: str) -> GroupStanding:
        """See `Facts`."""
        with self._reading():
            lives = self._is(IS_GROUP_ALIVE, name)
            bad = [
                _standing(row)
                for status in ("failed", "cancelled")
                for row in self._run(FIRST_BAD, (name, status))
            ]  # fmt: skip
            ended = [self._run(LAST_ENDED, (name, status.value)).fetchone()[0] for status in TERMINAL]
            return GroupStanding(
                is_known=lives or self._is(IS_MEMBER, name), lives=lives, bad=min(bad, key=_ended_at, default=None),
                ended_at=rows.from_ms(max((at for at in ended if at is not None), default=None)),
                is_awaited=self._is(IS_AWAITED, key_of(Dependency(group=name))),
            )  # fmt: skip

    def waits(self, job_ids: Collection[str]) -> dict[str, tuple[Dependency, ...]]:
        """See `Facts`."""
        found: dict[str, tuple[Dependency, ...]] = {}
        with self._reading():
            for some in portions(list(job_ids)):
                question = EDGES_OF.format(", ".join("?" * len(some)))
                for job_id, extra in self._run(question, [rows.to_blob(job_id) for job_id in some]):
                    after = rows.after_in(extra)
                    if after:
                        found[job_id.hex()] = after
        return found

    def waiting_members(self, group: str) -> list[str]:
        """See `Facts`."""
        with self._reading():
            return [job_id.hex() for (job_id,) in self._run(WAITING_MEMBERS, (group,))]

    def dependents(
        self, dependencies: Sequence[Dependency], *, status: Status | None = None, after: str | None = None, limit: int
    ) -> list[Job]:  # fmt: skip
        """See `WorkflowStore`."""
        values = (json.dumps([key_of(one) for one in dependencies]), rows.to_blob(after or ""), status and status.value, limit)
        with self._reading():
            return [rows.row_to_job(row) for row in self._run(DEPENDENTS, values)]

    def blocked(self, *, before: datetime, after: str | None = None, limit: int) -> list[Job]:
        """See `WorkflowStore`."""
        with self._reading():
            found = self._run(BLOCKED, (rows.to_blob(after or ""), rows.to_ms(before), limit))
            return [rows.row_to_job(row) for row in found]

    # ---- groups

    def group(self, name: str) -> Group | None:
        """See `WorkflowStore`."""
        with self._reading():
            counted = {rows.STATUSES[status]: count for status, count in self._run(GROUP_COUNTS, (name,))}
            if not counted:
                return None
            standing = self.group_standing(name)
            began = rows.from_ms(self._run(GROUP_BEGAN, (name,)).fetchone()[0])
            assert began is not None
            return Group(
                name=name, counts={status: counted.get(status, 0) for status in Status}, created_at=began,
                ended_at=None if standing.lives else standing.ended_at,
                waiting=[job_id.hex() for (job_id,) in self._run(WAITING_FOR, (key_of(Dependency(group=name)),))],
            )  # fmt: skip

    def living_groups(self, *, limit: int) -> list[Group]:
        """See `WorkflowStore`."""
        with self._reading():
            names = [name for (name,) in self._run(LIVING_GROUPS, (GROUPS_LOOK, limit))]
        return [group for name in names if (group := self.group(name)) is not None]

    def results(self, job_ids: Sequence[str], *, max_bytes: int) -> dict[str, bytes] | None:
        """See `WorkflowStore`."""
        found: dict[str, bytes] = {}
        with self._reading():
            for some in portions(list(job_ids)):
                asked = [rows.to_blob(job_id) for job_id in some]
                max_bytes -= self._run(RESULT_BYTES.format(", ".join("?" * len(some))), asked).fetchone()[0] or 0
                if max_bytes < 0:
                    return None
                found |= {job_id.hex(): result for job_id, result in self._run(RESULTS.format(", ".join("?" * len(some))), asked)}
        return found

    def reader(self, job: Job) -> str | None:
        """See `WorkflowStore`."""
        with self._reading():
            row = self._run(READER, (job.job_id, key_of(Dependency(group=job.group or "")))).fetchone()
        return None if row is None else str(row[0].hex())

    def _is(self, question: str, value: str) -> bool:
        return bool(self._run(question, (value,)).fetchone()[0])


def edges_of(job: Job) -> list[tuple[Any, str]]:
    """The job's rows in `edges`."""
    job_id = rows.to_blob(job.job_id)
    return [(job_id, key_of(one)) for one in job.after or ()]


def key_of(dependency: Dependency) -> str:
    """What `edges` has for it."""
    return dependency.job_id if dependency.job_id is not None else f"group:{dependency.group}"


def _standing(row: rows.Row) -> Standing:
    job_id, status, finished_at = row
    return Standing(job_id.hex(), rows.STATUSES[status], rows.from_ms(finished_at))


def _ended_at(standing: Standing) -> datetime:
    assert standing.ended_at is not None
    return standing.ended_at
