"""The guarantees of every store about who waits for whom; see `store.port` for those about jobs.

A job is told of by what it waits for in two marks of its own, which change in the same write as the job: `is_awaited` (others may
wait for it, so its end is work for the resolver) and `to_resolve` (it is work now). So no death loses any of this work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from jobyard.engine.jobs.job import Dependency, Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.workflows.rules import GroupStanding, Standing


class Group(NamedTuple):
    """A group as a whole. `ended_at` is None while a member lives; `waiting`: ids of jobs that wait for it, at most 100."""

    name: str
    counts: dict[Status, int]
    created_at: datetime
    ended_at: datetime | None
    waiting: list[str]


class Unresolved(NamedTuple):
    """A job that others may wait for, or that must be looked at itself; of `Job`'s fields those that matter."""

    job_id: str
    status: Status
    epoch: int
    group: str | None = None
    is_awaited: bool | None = None
    to_resolve: bool | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL


class Facts(Protocol):
    """What is stored, as far as waiting is concerned."""

    def standings(self, job_ids: Collection[str]) -> dict[str, Standing]:
        """How these jobs stand; those that are not stored are missing."""

    def group_standing(self, name: str) -> GroupStanding:
        """How the group stands."""

    def waits(self, job_ids: Collection[str]) -> dict[str, tuple[Dependency, ...]]:
        """What these jobs wait for, or waited for; those that wait for nothing are missing."""

    def waiting_members(self, group: str) -> list[str]:
        """The ids of the group's members that wait, or waited, for anything."""


class WorkflowStore(Facts, Protocol):
    """Who waits for whom. Any method may raise `StoreUnavailable`."""

    def may_have_unresolved(self) -> bool:
        """False if there is certainly no work for the resolver; cheap enough for every commit that ends jobs."""

    def unresolved(self, *, limit: int) -> list[Unresolved]:
        """Jobs that are marked, and those that have ended and are awaited, oldest end first."""

    def resolved(self, jobs: Sequence[Unresolved]) -> None:
        """Take the marks from those of the jobs that still have the epoch that they have here."""

    def await_all(self, job_ids: Sequence[str]) -> None:
        """Mark these jobs: others wait for them. Of those that have ended it is noted only, since nobody need look at their end."""

    def dependents(
        self, dependencies: Sequence[Dependency], *, status: Status | None = None, after: str | None = None, limit: int
    ) -> list[Job]:  # fmt: skip
        """The jobs that wait, or waited, for any of these, by id after the id `after`; without payloads."""

    def blocked(self, *, before: datetime, after: str | None = None, limit: int) -> list[Job]:
        """Blocked jobs that were changed last before that time, by id after the id `after`; without payloads."""

    def group(self, name: str) -> Group | None:
        """The group; None if it has no member."""

    def living_groups(self, *, limit: int) -> list[Group]:
        """The groups that live, newest first; of very many only some are looked at."""

    def results(self, job_ids: Sequence[str], *, max_bytes: int) -> dict[str, bytes] | None:
        """The results of those of the jobs that completed; None if they are larger together."""

    def reader(self, job: Job) -> str | None:
        """The id of a living job that waits for this one, by itself or in its group, or may read its result."""
