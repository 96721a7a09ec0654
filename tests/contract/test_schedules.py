"""Schedules and lanes: a fire happens once, with the advance of its schedule, and of a lane one job at a time is claimed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status, Unique
from jobyard.engine.schedules.fire_times import Timing, next_fire
from jobyard.engine.schedules.look import Fires, Look, Made, look_at
from jobyard.engine.schedules.schedule import Definition, Paused, Schedule
from jobyard.engine.store.port import Store
from jobyard.engine.store.schedule_port import DueLooks
from tests.contract.conftest import Open
from tests.support import claims
from tests.support.builders import a_job
from tests.support.world import START

SECOND = timedelta(seconds=1)
Make = Callable[[Schedule, datetime], Job]


def a_schedule(name: str = "s", *, every_s: float = 60, **asked: object) -> Schedule:
    timing = Timing(every_s=every_s, starts_at=START)
    definition = Definition(timing=timing, job={"task": "echo"}, payload='{"a": [1.0]}', **asked)  # type: ignore[arg-type]
    return Schedule(name=name, asked=definition, next_fire_at=next_fire(timing, START))


def fire(store: Store, *, after_s: float, make: Make = lambda one, at: a_job(), room: int = 9) -> DueLooks:
    now = START + after_s * SECOND

    def decide(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
        return look_at(schedule, now=now, living=living, room=room, make=make, made=made)

    return store.schedules.fire_due(decide, now=now, limit=100)


def jobs_of(store: Store, name: str = "s") -> list[Job]:
    return store.list_jobs(JobFilter(schedule=name), limit=1000).jobs


def found(store: Store, name: str = "s") -> Schedule:
    schedule = store.schedules.find(name)
    assert schedule is not None
    return schedule


def test_a_schedule_comes_back_as_it_was(store: Store, open_another: Open) -> None:
    schedule = msgspec.structs.replace(
        a_schedule(),
        paused=Paused(by="api", since=START, reason="r"),
        missed={"paused": 3},
        last_missed_at=START,
        fires=7,
        version=4,
    )

    assert store.schedules.save(schedule, was=None)

    assert open_another().schedules.find("s") == schedule and store.schedules.all() == [schedule]
    assert store.schedules.find("none") is None and store.schedules.next_fire_at() == schedule.next_fire_at


def test_a_write_is_guarded_by_the_version(store: Store) -> None:
    first = a_schedule()
    later = msgspec.structs.replace(first, version=1, next_fire_at=None)

    assert not store.schedules.save(later, was=0), "there is none"
    assert store.schedules.save(first, was=None) and not store.schedules.save(first, was=None)
    assert store.schedules.save(later, was=0) and not store.schedules.save(later, was=0)
    assert store.schedules.next_fire_at() is None


def test_all_are_in_the_order_of_their_names_and_one_can_be_deleted(store: Store) -> None:
    for name in ("b", "a", "c"):
        store.schedules.save(a_schedule(name), was=None)

    assert store.schedules.delete("b") and not store.schedules.delete("b")
    assert [one.name for one in store.schedules.all()] == ["a", "c"]


def test_a_fire_makes_a_job_and_advances_its_schedule(store: Store, open_another: Open) -> None:
    store.schedules.save(a_schedule(), was=None)

    assert fire(store, after_s=59.999).fired == []
    [fired] = fire(store, after_s=60).fired

    [job] = jobs_of(store)
    after = found(open_another())
    assert (job.fire_at, job.scheduled_at, fired.job_ids) == (START + 60 * SECOND, START + 60 * SECOND, [job.job_id])
    assert (after.fires, after.last_job_id, after.next_fire_at) == (1, job.job_id, START + 120 * SECOND)
    assert fire(open_another(), after_s=61).fired == [] and store.counts()[Status.PENDING] == 1


def test_a_fire_that_died_before_its_schedule_advanced_is_not_made_again(store: Store) -> None:
    """What MongoDB can leave, and a backfill of the same time."""
    before = a_schedule(overlap="allow")
    store.schedules.save(before, was=None)
    early = a_job(schedule="s", fire_at=START + 60 * SECOND)
    store.insert([[early]])

    fire(store, after_s=60)

    assert [job.job_id for job in jobs_of(store)] == [early.job_id]
    assert (found(store).fires, found(store).last_job_id) == (1, early.job_id)


def test_a_fire_whose_key_is_held_is_counted_and_one_that_replaces_takes_the_holder(store: Store) -> None:
    held = a_job(unique_key="echo/k", held_key="echo/k", unique=Unique(until="begun"))
    store.insert([[held]])
    store.schedules.save(a_schedule(overlap="allow"), was=None)

    def make(how: str) -> Make:
        unique = Unique(until="begun", on_conflict=how)
        return lambda one, at: a_job(unique_key="echo/k", held_key="echo/k", unique=unique, payload=b"2")

    for number, how in enumerate(("return", "refuse", "replace"), 1):
        fire(store, after_s=60 * number, make=make(how))

    after = found(store)
    assert (after.missed, after.fires, after.last_job_id) == ({"unique": 2}, 1, held.job_id)
    [job] = jobs_of(store)
    assert (job.job_id, job.payload, job.fire_at) == (held.job_id, b"2", START + 180 * SECOND)


def test_many_schedules_fire_together(store: Store) -> None:
    for number in range(30):
        store.schedules.save(a_schedule(f"s{number}", overlap="allow" if number % 2 else "skip"), was=None)

    done = fire(store, after_s=60, room=99)

    assert len(done.fired) == 30 and store.counts()[Status.PENDING] == 30
    assert fire(store, after_s=60).fired == []


def test_what_waits_for_room_is_due_still(store: Store) -> None:
    store.schedules.save(a_schedule(), was=None)

    assert (fire(store, after_s=60, room=0).fired, fire(store, after_s=60, room=0).waiting) == ([], 1)
    assert len(fire(store, after_s=60).fired) == 1


def test_skip_and_replace_see_what_lives(store: Store) -> None:
    store.schedules.save(a_schedule(), was=None)
    fire(store, after_s=60)

    fire(store, after_s=120)

    assert found(store).missed == {"overlap": 1} and len(jobs_of(store)) == 1
    store.schedules.save(msgspec.structs.replace(found(store), asked=a_schedule(overlap="replace").asked, version=9), was=2)
    [fired] = fire(store, after_s=180).fired
    assert [after.status for _, after in fired.cancelled] == [Status.CANCELLED]
    assert [job.status for job in jobs_of(store)] == [Status.PENDING, Status.CANCELLED]
    assert (store.counts()[Status.PENDING], store.counts()[Status.CANCELLED]) == (1, 1)


def test_a_backfill_leaves_out_what_has_its_job(store: Store) -> None:
    first, second = (a_job(schedule="s", fire_at=START + n * SECOND) for n in (1, 2))
    store.insert([[first]])

    again = a_job(schedule="s", fire_at=first.fire_at)

    assert store.schedules.add(Fires(jobs=[again, second])) == [second.job_id]
    assert store.schedules.add(Fires(jobs=[again])) == [] and store.find([again.job_id]) == [None]


def test_jobs_of_a_run_are_not_counted_as_living_fires(store: Store) -> None:
    ran, fired, ended = a_job(schedule="s"), a_job(schedule="s", fire_at=START), a_job(schedule="s", fire_at=START - SECOND)
    store.insert([[ran, fired, ended]])
    store.apply([lifecycle.cancel(ended, now=START)])

    assert [job.job_id for job in store.schedules.living("s")] == [fired.job_id]


# ---- lanes


def in_lane(number: int, **fields: object) -> Job:
    return a_job(lane='["schedule:s"]', scheduled_at=START + number * SECOND, **fields)


def claim(store: Store, after_s: float = 100, most: int = 1000) -> list[str]:
    return [job.job_id for job in claims.claim(store, now=START + after_s * SECOND, most=most)]


def stored(store: Store, job: Job) -> Job:
    [there] = store.find([job.job_id])
    assert there is not None
    return there


def run(store: Store, job: Job, status: ExecutionStatus) -> None:
    outcome = Outcome(status=status, error=None if status is ExecutionStatus.SUCCESS else "no")
    assert store.apply([lifecycle.settle(stored(store, job), outcome, now=START + 100 * SECOND, retry_base_s=1)]) == [True]


def test_of_a_lane_one_job_is_claimed_the_earliest_due_first(store: Store, open_another: Open) -> None:
    second, first, plain = in_lane(2), in_lane(1), a_job()
    store.insert([[second, first, plain]])

    assert claim(store) == [plain.job_id, first.job_id]
    assert claim(open_another()) == [] and store.next_due() is None
    assert store.limits.parts(["schedule:s"])["schedule:s"].job_ids == (first.job_id,)
    run(store, first, ExecutionStatus.SUCCESS)
    assert store.next_due() is not None and claim(store) == [second.job_id]


def test_the_place_is_kept_over_a_wait_for_a_retry(store: Store) -> None:
    first, second = in_lane(1), in_lane(2)
    store.insert([[first, second]])
    claim(store)
    run(store, first, ExecutionStatus.FAILED)

    assert stored(store, first).status is Status.PENDING and claim(store, 100) == []
    assert store.next_due() == stored(store, first).scheduled_at
    assert claim(store, 200) == [first.job_id]


def test_whatever_ends_the_holder_frees_the_place(store: Store) -> None:
    first, second, third = in_lane(1), in_lane(2), in_lane(3)
    store.insert([[first, second, third]])
    claim(store)
    assert store.apply([lifecycle.recover(stored(store, first), now=START, max_lost=3)]) == [True]

    assert claim(store) == [first.job_id], "its worker died; it has begun, so it keeps its place"
    run(store, first, ExecutionStatus.CANCELLED)
    assert claim(store) == [second.job_id]
    assert store.apply([lifecycle.recover(stored(store, second), now=START, max_lost=1)]) == [True], "lost for good"
    assert claim(store) == [third.job_id]


def test_lanes_do_not_hinder_each_other_nor_jobs_without_one(store: Store) -> None:
    busy, waiting = in_lane(1), [in_lane(number) for number in range(2, 30)]
    other, plain = a_job(lane='["schedule:t"]'), a_job()
    store.insert([[busy, *waiting, other, plain]])
    claimed = claim(store, most=1) + claim(store)

    assert set(claimed) == {busy.job_id, other.job_id, plain.job_id} and claim(store) == []
    assert store.counts()[Status.PENDING] == 28


def test_a_job_in_a_lane_keeps_its_priority(store: Store) -> None:
    low, high = a_job(lane='["schedule:a"]', priority=1), a_job(lane='["schedule:b"]', priority=9)
    store.insert([[low, high]])

    jobs = claims.claim(store)

    assert [(job.job_id, job.priority) for job in jobs] == [(high.job_id, 9), (low.job_id, 1)]
    assert stored(store, low).priority == 1


# ---- a fire time that has its job before its schedule has advanced: its maker died in between, or another one is at it


@pytest.mark.parametrize("overlap", ["skip", "queue", "all", "replace", "allow"])
@pytest.mark.parametrize("paused", [None, Paused(by="api", since=START)])
def test_a_fire_under_way_counts_once_and_is_not_in_its_own_way(store: Store, overlap: str, paused: Paused | None) -> None:
    store.schedules.save(msgspec.structs.replace(a_schedule(overlap=overlap), paused=paused), was=None)
    early = a_job(schedule="s", fire_at=START + 60 * SECOND)
    store.insert([[early]])

    fire(store, after_s=60)

    after = found(store)
    assert (after.fires, after.last_job_id, after.missed, after.next_fire_at) == (1, early.job_id, {}, START + 120 * SECOND)
    assert [(job.job_id, job.status) for job in jobs_of(store)] == [(early.job_id, Status.PENDING)]


def test_of_a_catch_up_whose_maker_died_only_the_rest_is_made(store: Store) -> None:
    store.schedules.save(a_schedule(overlap="replace", catch_up="all"), was=None)
    before, first, second = (a_job(schedule="s", fire_at=START + n * 60 * SECOND, lane='["schedule:s"]') for n in (0, 1, 2))
    store.insert([[before], [first], [second]])

    [fired] = fire(store, after_s=180).fired

    assert {job.job_id for job, _ in fired.cancelled} == {before.job_id, first.job_id, second.job_id}
    assert [job.status for job in jobs_of(store)].count(Status.PENDING) == 1
    assert (found(store).fires, found(store).missed) == (3, {})


def test_the_jobs_that_fire_times_have_are_found(store: Store) -> None:
    jobs = [a_job(schedule="s", fire_at=START + n * SECOND) for n in range(4)]
    store.insert([[job] for job in [*jobs, a_job(schedule="s"), a_job(schedule="t", fire_at=START + SECOND)]])

    made = store.schedules.made("s", since=START + SECOND, until=START + 2 * SECOND)

    assert made == {job.fire_at: job.job_id for job in jobs[1:3]}
