"""Jobs that are submitted together and wait for one another: `chain(…)`, `group(…)`, `.then(…)`. Values only, no I/O.

Submitting a workflow is one request: all of its jobs are stored, or none.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

RunIf = Literal["completed", "ended", "failed"]


@dataclass(frozen=True, slots=True)
class UnsentJob:
    """A job to be submitted: what `task.job(…)` returns."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A job of a workflow. `after`: indexes of the workflow's steps, and groups."""

    fields: Mapping[str, Any]
    after: tuple[int | Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workflow:
    """Jobs in the order in which they are submitted. `ends`: what a job waits for that comes after all of them."""

    steps: tuple[Step, ...]
    ends: tuple[int | Mapping[str, str], ...]

    def then(self, following: Part, *, run_if: RunIf | None = None) -> Workflow:
        """This workflow, and what follows when it has ended; `run_if` as for a single job."""
        here = len(self.steps)
        added = as_workflow(following)
        steps = tuple(self._following(step, here, run_if) for step in added.steps)
        return Workflow((*self.steps, *steps), _moved(added.ends, here))

    def jobs(self) -> list[dict[str, Any]]:
        """The fields of the jobs. A job that another waits for is called by its number, from 1, unless it has a `ref`."""
        named = {index for step in self.steps for index in step.after if isinstance(index, int)}
        taken = {str(step.fields["ref"]) for step in self.steps if step.fields.get("ref") is not None}
        refs = {index: self._ref(index, taken) for index in named}
        return [self._job(index, step, refs) for index, step in enumerate(self.steps)]

    def submit(self) -> list[Any]:
        """Submit the jobs to the service at JOBYARD_URL, or to that of `use_client`; their ids, as handles, in order."""
        client = importlib.import_module("jobyard.engine.client.default").default_client()
        handles: list[Any] = client.submit(self)
        return handles

    def _following(self, step: Step, here: int, run_if: RunIf | None) -> Step:
        """A step of what follows; those that wait for none of its own wait for everything here."""
        if step.after:
            return replace(step, after=_moved(step.after, here))
        fields = step.fields if run_if is None else {**step.fields, "run_if": run_if}
        return Step(fields, self.ends)

    def _ref(self, index: int, taken: set[str]) -> str:
        own = self.steps[index].fields.get("ref")
        ref = str(index + 1) if own is None else str(own)
        while own is None and ref in taken:
            ref += "'"
        return ref

    def _job(self, index: int, step: Step, refs: Mapping[int, str]) -> dict[str, Any]:
        job = dict(step.fields)
        if index in refs:
            job["ref"] = refs[index]
        if step.after:
            after = [refs[one] if isinstance(one, int) else dict(one) for one in step.after]
            job["after"] = [*after, *(job.get("after") or ())]
        return job


Part: TypeAlias = UnsentJob | Workflow
"""What a workflow is made of."""


def chain(*parts: Part) -> Workflow:
    """One after the other: each part begins when the one before it has completed, unless its own `run_if` says otherwise."""
    if not parts:
        raise ValueError("chain() needs at least one job")
    chained = as_workflow(parts[0])
    for part in parts[1:]:
        chained = chained.then(part)
    return chained


def group(name: str, parts: Iterable[Part]) -> Workflow:
    """At the same time, as members of this group; what comes `.then(…)` waits for all its members, also those added later."""
    steps: list[Step] = []
    for part in parts:
        here = len(steps)
        steps += [Step(_in_group(name, step.fields), _moved(step.after, here)) for step in as_workflow(part).steps]
    if not steps:
        raise ValueError("group() needs at least one job")
    return Workflow(tuple(steps), ({"group": name},))


def as_workflow(part: Part) -> Workflow:
    """A workflow as it is; a job as a workflow of its own."""
    if isinstance(part, Workflow):
        return part
    if isinstance(part, UnsentJob):
        return Workflow((Step(part.fields),), (0,))
    raise TypeError(f"a workflow is made of jobs, task.job(…), and of workflows, not of {type(part).__name__}")


def _in_group(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    if fields.get("group") not in (None, name):
        raise ValueError(f"a job is a member of one group: of {fields['group']!r} or of {name!r}")
    return {**fields, "group": name}


def _moved(after: tuple[int | Mapping[str, str], ...], by: int) -> tuple[int | Mapping[str, str], ...]:
    return tuple(one + by if isinstance(one, int) else one for one in after)
