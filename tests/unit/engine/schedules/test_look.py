"""What becomes of the fire times that are due: the examples of the contract, and that everything adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.schedules.fire_times import Timing, count_fires, next_fire
from jobyard.engine.schedules.look import Look, jitter, look_at
from jobyard.engine.schedules.schedule import CATCH_UP, OVERLAP, Definition, Paused, Schedule
from tests.support.builders import a_job

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
FROM_13_21_TO_15_00 = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(13 * 60 + 21, 15 * 60 + 1)]
NOON = datetime(2026, 1, 4, 12, 0, tzinfo=UTC)


def a_schedule(
    *, after: datetime = NOON, cron: str | None = "* * * * *", every_s: float | None = None, **asked: object
) -> Schedule:
    timing = Timing(cron=None if every_s else cron, every_s=every_s)
    fields = {"overlap": "allow", **asked}
    return Schedule(
        name="s",
        asked=Definition(timing=timing, job={}, **fields),
        next_fire_at=next_fire(timing, after),  # type: ignore[arg-type]
    )


def make(schedule: Schedule, at: datetime) -> Job:
    return a_job()


def look(schedule: Schedule, now: datetime, *, living: tuple[Job, ...] = (), room: int = 10_000) -> Look:
    found = look_at(schedule, now=now, living=living, room=room, make=make)
    assert found is not None
    return found


def after(found: Look) -> Schedule:
    return found.after([job.job_id for job in found.fires.jobs])


def times(found: Look) -> list[str]:
    return [job.fire_at.strftime("%H:%M") for job in found.fires.jobs if job.fire_at is not None]


def test_a_fire_that_is_on_time_is_made() -> None:
    found = look(a_schedule(catch_up="none"), NOON + MINUTE + 59 * SECOND)

    assert times(found) == ["12:01"] and not found.missed and after(found).next_fire_at == NOON + 2 * MINUTE


@pytest.mark.parametrize(("catch_up", "made", "missed"), [("latest", 1, 0), ("all", 1, 0), ("none", 0, 1)])
def test_one_that_is_a_minute_late_is_a_catch_up(catch_up: str, made: int, missed: int) -> None:
    found = look(a_schedule(cron="0 * * * *", catch_up=catch_up), NOON + timedelta(hours=1) + MINUTE)

    assert (len(found.fires.jobs), found.missed["catch_up"]) == (made, missed)


@pytest.mark.parametrize(
    ("catch_up", "made", "missed"),
    [("latest", ["15:00"], 179), ("all", FROM_13_21_TO_15_00, 80), ("none", ["15:00"], 179)],
)  # fmt: skip
def test_three_hours_of_downtime(catch_up: str, made: list[str], missed: int) -> None:
    found = look(a_schedule(after=NOON + 30 * SECOND, catch_up=catch_up), NOON + timedelta(hours=3) + 30 * SECOND)

    assert times(found) == made and found.missed == {"catch_up": missed}
    done = after(found)
    assert (done.fires, done.last_fire_at, done.next_fire_at) == (len(made), NOON + 180 * MINUTE, NOON + 181 * MINUTE)
    assert done.last_missed_at == (NOON + 80 * MINUTE if catch_up == "all" else NOON + 179 * MINUTE)


def test_a_year_of_downtime_counts_at_least_a_thousand_and_says_so() -> None:
    found = look(a_schedule(), NOON + timedelta(days=365))

    assert len(found.fires.jobs) == 1 and found.missed["catch_up"] >= 1_000 and not after(found).missed_is_exact
    exact = look(a_schedule(every_s=60), NOON + timedelta(days=365))
    assert exact.missed["catch_up"] == 365 * 1440 - 1 and after(exact).missed_is_exact


@pytest.mark.parametrize(("catch_up", "made", "missed"), [("latest", 1, 9), ("all", 5, 5), ("none", 0, 10)])
def test_a_schedule_that_ended_in_the_downtime_is_caught_up(catch_up: str, made: int, missed: int) -> None:
    timing = Timing(every_s=60, ends_at=NOON + 10 * MINUTE)
    asked = Definition(timing=timing, job={}, overlap="allow", catch_up=catch_up, catch_up_max=5)

    done = after(look(Schedule(name="s", asked=asked, next_fire_at=NOON + MINUTE), NOON + timedelta(days=9)))

    assert (done.fires, done.missed["catch_up"], done.next_fire_at) == (made, missed, None)


def test_while_it_is_paused_each_fire_time_counts_as_paused() -> None:
    schedule = msgspec.structs.replace(a_schedule(catch_up="all"), paused=Paused(by="api", since=NOON))

    found = look(schedule, NOON + 5 * MINUTE, room=0)

    assert not found.fires.jobs and found.missed == {"paused": 5} and after(found).next_fire_at == NOON + 6 * MINUTE


def running(**fields: object) -> Job:
    return a_job(status=Status.RUNNING, schedule="s", fire_at=NOON, **fields)


@pytest.mark.parametrize(
    ("overlap", "living", "made"),
    [
        ("skip", (), 1), ("skip", (running(),), 0), ("queue", (running(),), 1), ("queue", (a_job(),), 0),
        ("queue", (a_job(attempt=1),), 1), ("all", (running(), a_job()), 1), ("allow", (running(),), 1),
        ("replace", (running(),), 1),
    ],
)  # fmt: skip
def test_overlap_looks_at_what_lives(overlap: str, living: tuple[Job, ...], made: int) -> None:
    found = look(a_schedule(overlap=overlap), NOON + MINUTE, living=living)

    assert len(found.fires.jobs) == made and found.missed["overlap"] == 1 - made
    assert all(job.lane == (None if overlap in ("skip", "allow") else '["schedule:s"]') for job in found.fires.jobs)


@pytest.mark.parametrize(("overlap", "made"), [("skip", 1), ("queue", 1), ("all", 5), ("allow", 5), ("replace", 5)])
def test_a_catch_up_obeys_overlap_one_after_the_other(overlap: str, made: int) -> None:
    found = look(a_schedule(overlap=overlap, catch_up="all"), NOON + 5 * MINUTE)

    assert (len(found.fires.jobs), found.missed["overlap"]) == (made, 5 - made)


def test_replace_cancels_what_lives_and_says_why() -> None:
    pending, begun = a_job(schedule="s", fire_at=NOON), running()

    found = look(a_schedule(overlap="replace", catch_up="all"), NOON + 3 * MINUTE, living=(pending, begun))

    ends = [change.after(job) for job, change in found.fires.cancels]
    assert [(job.status, job.cancel_requested_at is not None) for job in ends] == [(Status.CANCELLED, True), (Status.RUNNING, True)]
    assert [job.status for job in found.fires.jobs] == [Status.CANCELLED, Status.CANCELLED, Status.PENDING]
    cause = found.fires.jobs[0].cancelled_because
    assert cause is not None and (cause.reason, cause.schedule) == ("replaced", "s")


def test_without_room_a_fire_waits_and_with_some_the_oldest_are_made() -> None:
    schedule = a_schedule(catch_up="all")

    assert look_at(schedule, now=NOON + 5 * MINUTE, living=(), room=0, make=make) is None
    found = look(schedule, NOON + 5 * MINUTE, room=2)
    assert times(found) == ["12:01", "12:02"] and not found.missed and after(found).next_fire_at == NOON + 3 * MINUTE


def test_a_fire_whose_key_is_held_counts_as_unique() -> None:
    found = look(a_schedule(catch_up="all"), NOON + 2 * MINUTE)

    done = found.after([None, "ab" * 12])

    assert (done.fires, done.missed, done.last_job_id, done.last_missed_at) == (1, {"unique": 1}, "ab" * 12, NOON + MINUTE)


def test_nothing_is_due_early_or_after_the_clock_was_set_back() -> None:
    done = after(look(a_schedule(), NOON + MINUTE))

    for now in (NOON + 2 * MINUTE - timedelta(milliseconds=1), NOON - timedelta(hours=1)):
        assert look_at(done, now=now, living=(), room=1, make=make) is None


def test_jitter_is_the_same_each_time_and_never_past_the_next_fire() -> None:
    timing = Timing(every_s=60)
    delays = [jitter("s", timing, NOON + number * MINUTE, 86_400) for number in range(200)]

    assert delays == [jitter("s", timing, NOON + number * MINUTE, 86_400) for number in range(200)]
    assert max(delays) < MINUTE and len(set(delays)) > 150 and jitter("s", timing, NOON, 0) == timedelta()


@settings(max_examples=60)
@given(
    st.sampled_from(OVERLAP), st.sampled_from(CATCH_UP), st.integers(1, 20), st.sampled_from([7.5, 60.0, None]),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 8), st.booleans(), st.booleans()), min_size=1, max_size=12),
)  # fmt: skip
def test_fires_and_misses_are_what_arithmetic_says(
    overlap: str, catch_up: str, most: int, every_s: float | None, steps: list[tuple[int, int, bool, bool]]
) -> None:
    schedule = a_schedule(overlap=overlap, catch_up=catch_up, catch_up_max=most, every_s=every_s)
    first, now, seen = schedule.next_fire_at, NOON, set()
    for seconds, room, pauses, lives in steps:
        now += seconds * SECOND
        schedule = msgspec.structs.replace(schedule, paused=Paused(by="api", since=now) if pauses else None)
        found = look_at(schedule, now=now, living=(a_job(),) if lives else (), room=room, make=make)
        if found is None:
            continue
        for job in found.fires.jobs:
            assert job.fire_at not in seen and job.fire_at is not None and job.fire_at <= now
            seen.add(job.fire_at)
        before, schedule = schedule, after(found)
        assert before.next_fire_at is not None and schedule.next_fire_at is not None and schedule.next_fire_at > before.next_fire_at

    assert first is not None and schedule.next_fire_at is not None
    passed = count_fires(schedule.asked.timing, since=first, until=schedule.next_fire_at - timedelta(milliseconds=1), at_most=10**6)
    assert schedule.fires + sum(schedule.missed.values()) == passed[0] and schedule.missed_is_exact


@settings(max_examples=80)
@given(
    st.sampled_from(OVERLAP), st.sampled_from(CATCH_UP), st.integers(1, 8), st.integers(1, 12), st.sets(st.integers(1, 12)),
    st.booleans(), st.integers(0, 6),
)  # fmt: skip
def test_fire_times_that_have_their_jobs_already_are_fires(
    overlap: str, catch_up: str, most: int, due: int, having: set[int], is_paused: bool, room: int
) -> None:
    schedule = a_schedule(overlap=overlap, catch_up=catch_up, catch_up_max=most)
    schedule = msgspec.structs.replace(schedule, paused=Paused(by="api", since=NOON) if is_paused else None)
    made = {NOON + number * MINUTE: f"{number:024x}" for number in having}

    found = look_at(schedule, now=NOON + due * MINUTE, living=(), room=room, make=make, made=made)

    if found is None:
        assert not any(at <= NOON + due * MINUTE for at in made) or room < due
        return
    done = after(found)
    assert done.next_fire_at is not None
    passed = int((done.next_fire_at - NOON - MINUTE) / MINUTE)
    assert done.fires + sum(done.missed.values()) == passed <= due
    assert {at for at, _ in found.fires.known} == {at for at in made if at < done.next_fire_at}
    assert not {job.fire_at for job in found.fires.jobs} & set(made) and len(found.fires.jobs) <= room
