"""The connected component of a job, nearest first."""

from __future__ import annotations

from jobyard.engine.jobs.job import Dependency, Job
from jobyard.engine.workflows.graph import component
from tests.support.builders import a_job
from tests.support.memory_store import MemoryStore


def after(*jobs: Job, group: str | None = None, **fields: object) -> Job:
    named = tuple(Dependency(job_id=job.job_id) for job in jobs)
    return a_job(after=(*named, *([Dependency(group=group)] if group else [])), run_if="completed", **fields)


def stored(*jobs: Job) -> MemoryStore:
    store = MemoryStore()
    store.insert([list(jobs)])
    return store


def test_a_diamond_is_found_from_any_of_its_corners() -> None:
    a = a_job()
    b, c = after(a), after(a)
    d = after(b, c)
    store = stored(a, b, c, d, a_job())

    for corner in (a, b, c, d):
        found = component(corner, store)

        assert {job.job_id for job in found.jobs} == {job.job_id for job in (a, b, c, d)}
        assert found.jobs[0].job_id == corner.job_id
        assert len(found.edges) == 4 and found.is_whole


def test_a_group_is_one_edge_however_many_members() -> None:
    members = [a_job(group="g") for _ in range(5)]
    join = after(group="g")

    found = component(members[0], stored(*members, join))

    assert len(found.jobs) == 6
    assert [(edge.group, to) for edge, to in found.edges] == [("g", join.job_id)]


def test_members_of_a_group_that_nobody_waits_for_are_not_connected() -> None:
    one, other = a_job(group="g"), a_job(group="g")

    assert [job.job_id for job in component(one, stored(one, other)).jobs] == [one.job_id]


def test_the_nearest_come_first_and_more_is_said_to_exist() -> None:
    chain = [a_job()]
    for _ in range(9):
        chain.append(after(chain[-1]))
    store = stored(*chain)

    found = component(chain[0], store, most=4)

    assert [job.job_id for job in found.jobs] == [job.job_id for job in chain[:4]]
    assert len(found.edges) == 3 and not found.is_whole
    assert component(chain[0], store, most=10).is_whole
