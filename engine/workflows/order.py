"""The order in which the jobs of a request are decided: whatever one waits for comes before it. Or the cycle that forbids it.

The nodes are jobs and groups; a group waits for its members. Stored jobs can lead back to new ones through a group only: one that
a stored job waits for, and that a new job joins. Only then are they looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from jobyard.engine.jobs.job import Dependency, Job
from jobyard.engine.workflows.port import Facts
from jobyard.engine.workflows.rules import GroupStanding


class Node(NamedTuple):
    """A job or a group."""

    job_id: str | None = None
    group: str | None = None


class Cycle(NamedTuple):
    """Nodes each of which waits for the next; the last one is the first."""

    nodes: list[Node]


def in_order(jobs: Mapping[str, Job], facts: Facts, *, joined: Mapping[str, GroupStanding]) -> list[Node] | Cycle:
    """`jobs`: those of the request, by id; `joined`: the groups that they join or wait for."""
    graph = _Graph(jobs, facts, leads_back=any(job.group is not None and joined[job.group].is_awaited for job in jobs.values()))
    done: dict[Node, None] = {}
    for job_id in jobs:
        path = [Node(job_id)]
        on_path = set(path)
        open_ends = [graph.after(path[0])]
        while path:
            following = next((node for node in open_ends[-1] if node not in done), None)
            if following is None:
                done[path[-1]] = None
                on_path.discard(path.pop())
                open_ends.pop()
            elif following in on_path:
                return Cycle([*path[path.index(following) :], following])
            else:
                path.append(following)
                on_path.add(following)
                open_ends.append(graph.after(following))
    return list(done)


class _Graph:
    def __init__(self, jobs: Mapping[str, Job], facts: Facts, *, leads_back: bool) -> None:
        self._jobs = jobs
        self._facts = facts
        self._leads_back = leads_back
        self._members: dict[str, list[str]] = {}
        for job in jobs.values():
            if job.group is not None:
                self._members.setdefault(job.group, []).append(job.job_id)

    def after(self, node: Node) -> Iterator[Node]:
        """What the node waits for."""
        if node.group is not None:
            stored = self._facts.waiting_members(node.group) if self._leads_back else []
            return iter([Node(job_id) for job_id in [*self._members.get(node.group, ()), *stored]])
        own = self._jobs.get(node.job_id or "")
        if own is not None:
            return _nodes(own.after or ())
        return _nodes(self._facts.waits([node.job_id or ""]).get(node.job_id or "", ()) if self._leads_back else ())


def _nodes(after: Sequence[Dependency]) -> Iterator[Node]:
    return iter([Node(one.job_id, one.group) for one in after])
