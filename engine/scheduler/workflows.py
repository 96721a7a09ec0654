"""Answers requests about groups and about the graph of jobs that wait for one another."""

from __future__ import annotations

import re
from collections.abc import Callable

from jobyard.engine.errors import InvalidRequest, NotFound
from jobyard.engine.jobs.dependency_fields import GROUP_PATTERN, GROUP_WORDS
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.store.port import Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json
from jobyard.engine.wire.resource_messages import FindGroup, GetGraph, ListGroups
from jobyard.engine.workflows.graph import component
from jobyard.engine.workflows.port import Group

GROUPS_LISTED = 100


class Workflows:
    """The answers of one scheduler; they raise `Rejected` or `Unavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.answers: dict[type, Callable[..., Message]] = {
            FindGroup: self.find_group, ListGroups: self.list_groups, GetGraph: self.graph,
        }  # fmt: skip

    def find_group(self, asked: FindGroup) -> Json:
        """One group."""
        if not re.fullmatch(GROUP_PATTERN, asked.name):
            raise InvalidRequest("invalid_field", f"the name of a group has {GROUP_WORDS}, not {shown(asked.name)}", "name")
        group = self._store.workflows.group(asked.name)
        if group is None:
            raise NotFound("not_found", f"there is no group {shown(asked.name)}", "name")
        return as_json(_shown(group))

    def list_groups(self, asked: ListGroups) -> Json:
        """The newest groups that live."""
        return as_json([_shown(group) for group in self._store.workflows.living_groups(limit=GROUPS_LISTED)])

    def graph(self, asked: GetGraph) -> Json:
        """Everything that a job waits for and that waits for it, directly or not."""
        (job,) = self._store.find([asked.job_id], whole=False)
        if job is None:
            raise NotFound("not_found", f"there is no job {asked.job_id}")
        found = component(job, self._store)
        nodes = [
            {"job_id": one.job_id, "task": one.task, "status": one.status, "ref": one.ref, "group": one.group} for one in found.jobs
        ]
        edges = [
            {"from": one.job_id if one.group is None else {"group": one.group}, "to": job_id} for one, job_id in found.edges
        ]  # fmt: skip
        return as_json({"nodes": nodes, "edges": edges, "is_whole": found.is_whole})


def _shown(group: Group) -> dict[str, object]:
    return {
        "name": group.name, "counts": group.counts, "created_at": rfc3339(group.created_at), "ended_at": rfc3339(group.ended_at),
        "waiting": group.waiting,
    }  # fmt: skip
