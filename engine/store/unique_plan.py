"""Decides what becomes of the jobs of one request that have unique keys, for any store: which are stored, which stand for another.

A store looks up the holders, makes this plan, and then writes all of it or, if the plan refuses a job, nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Unique
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.jobs.unique import Verdict, replaced_at, verdict
from jobyard.engine.jobs.unique_field import REFUSE, RETURN


@dataclass(slots=True)
class Replacing:
    """A stored holder and the newest data for it."""

    holder: Job
    new: Job

    @property
    def due_at(self) -> datetime:
        """When the holder is due then."""
        return replaced_at(self.holder, self.new)

    def change(self) -> Change:
        """The change that gives the holder the data."""
        return lifecycle.replace(self.holder, self.new, now=self.new.created_at, due=self.due_at)


class Refusal(NamedTuple):
    """A job cannot be accepted: its key is held by that job, or by another of the same request (None)."""

    key: str
    job_id: str | None


@dataclass(slots=True)
class UniquePlan:
    """The plan for the jobs of one request, which are added in their order."""

    fresh: list[Job] = field(default_factory=list)
    """To be stored."""
    dropped: list[Job] = field(default_factory=list)
    """Jobs that lose their `held_key` to one of `fresh`."""
    replacing: dict[str, Replacing] = field(default_factory=dict)
    """By key."""
    _own: dict[str, int] = field(default_factory=dict)

    def add(self, job: Job, holder: Job | None) -> tuple[str, Verdict] | Refusal:
        """Plan one job: the id that stands for it, and how. `holder`: the stored job with its `held_key`."""
        key = job.held_key
        if key is None:
            return self._store(job)
        if key in self._own:
            return self._add_to_own(job, key)
        if key in self.replacing:
            holder = self.replacing[key].holder
        if holder is None:
            return self._store(job)
        decided = verdict(holder, job)
        if decided is Verdict.TAKE:
            self.dropped.append(holder)
            return self._store(job)
        if decided is Verdict.REPLACE:
            self.replacing[key] = Replacing(holder, job)
        return Refusal(key, holder.job_id) if decided is Verdict.REFUSE else (holder.job_id, decided)

    def _store(self, job: Job) -> tuple[str, Verdict]:
        if job.held_key is not None:
            self._own[job.held_key] = len(self.fresh)
        self.fresh.append(job)
        return job.job_id, Verdict.TAKE

    def _add_to_own(self, job: Job, key: str) -> tuple[str, Verdict] | Refusal:
        """Of several in one request with one key, the last one's contents stay under the first one's id."""
        first = self.fresh[self._own[key]]
        how = (job.unique or Unique()).on_conflict
        if how == REFUSE or (how != RETURN and first.task != job.task):
            return Refusal(key, None)
        if how == RETURN:
            return first.job_id, Verdict.RETURN
        change = lifecycle.replace(first, job, now=job.created_at, due=replaced_at(first, job))
        self.fresh[self._own[key]] = msgspec.structs.replace(change.after(first), epoch=first.epoch)
        return first.job_id, Verdict.REPLACE
