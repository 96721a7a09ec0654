"""When schedules fire: the cases of the contract, and the rule held against an enumeration of all instants."""

from __future__ import annotations

import csv
import functools
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jobyard.engine.schedules.cron import InvalidCron, parse_cron
from jobyard.engine.schedules.fire_times import Timing, count_fires, fires_after, newest_fires, next_fire

with Path(__file__).with_name("cron.tsv").open("r", encoding="utf-8") as file:
    CASES = list(csv.DictReader(file, delimiter="\t"))
ZONES = [
    "UTC", "America/New_York", "Europe/Berlin", "Europe/Dublin", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Apia",
    "America/Sao_Paulo", "America/St_Johns", "Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu", "America/Havana",
    "Asia/Tehran", "Africa/Cairo", "Antarctica/Casey", "Pacific/Kiritimati", "America/Caracas", "Asia/Pyongyang", "Asia/Gaza",
]  # fmt: skip
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""The examples are small; the enumeration takes long."""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['number']} {case['why']}")
def test_the_cases_of_the_contract(case: dict[str, str]) -> None:
    timing = Timing(cron=case["expression"], time_zone=case["time_zone"])
    if case["next_three_utc"] == "refused":
        try:
            assert next_fire(timing, at(case["asked_at_utc"])) is None, "it never fires"
        except InvalidCron:
            return
        return

    found = [fire.strftime("%Y-%m-%dT%H:%M") for fire in islice(fires_after(timing, at(case["asked_at_utc"])), 3)]

    assert found == case["next_three_utc"].split(" ")


@pytest.mark.parametrize(
    ("cron", "zone", "count"),
    [("30 2 * * *", "Europe/Berlin", 365), ("0 * * * *", "Australia/Lord_Howe", 8759), ("0 */2 * * *", "America/New_York", 4379)],
)
def test_the_number_of_fires_in_2026(cron: str, zone: str, count: int) -> None:
    begin, end = (datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for year in (2026, 2027))
    timing = Timing(cron=cron, time_zone=zone)

    assert count_fires(timing, since=begin, until=end - MINUTE, at_most=10_000) == (count, True)


def instants(timing: Timing, begin: datetime, end: datetime) -> set[datetime]:
    """All fire times in [begin, end), found by looking at every minute of the world and of the wall clock."""
    zone, cron = ZoneInfo(timing.time_zone), parse_cron(timing.cron or "")
    matching = set(_matching(timing.cron or "", begin, end))
    found = {now for now in _minutes(begin, end) if now.astimezone(zone).replace(tzinfo=None) in matching}
    if not cron.is_fixed:
        return found
    if timing.dst_fold != "both":
        others = {now for now in found if _twin(now, zone) in found and (_twin(now, zone) < now) == (timing.dst_fold == "first")}
        found -= {now for now in others if _twin(now, zone) != now}
    if timing.dst_gap == "shift":
        for now in _minutes(begin, end):
            before, after = ((now + shift).astimezone(zone).replace(tzinfo=None) for shift in (-MINUTE, timedelta()))
            if any(before < local < after for local in _between(before + MINUTE, after) if local in matching):
                found.add(now)
    return found


def _minutes(begin: datetime, end: datetime) -> list[datetime]:
    return [begin + number * MINUTE for number in range(int((end - begin) / MINUTE))]


def _between(begin: datetime, end: datetime) -> list[datetime]:
    return [begin + number * MINUTE for number in range(max(0, int((end - begin) / MINUTE)))]


def _twin(now: datetime, zone: ZoneInfo) -> datetime:
    """The other instant with this wall time, or the same."""
    local = now.astimezone(zone)
    other = local.replace(fold=1 - local.fold).astimezone(UTC)
    return other if other.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None) else now


def _matching(cron: str, begin: datetime, end: datetime) -> list[datetime]:
    """Wall times, by the plainest reading of the five fields."""
    minute, hour, day, month, weekday = (_values(field, *bounds) for field, bounds in zip(cron.split(), BOUNDS, strict=True))
    day_and = cron.split()[2].startswith("*") or cron.split()[4].startswith("*")
    local, found = begin.replace(tzinfo=None) - 48 * HOUR, []
    while local < end.replace(tzinfo=None) + 48 * HOUR:
        days = (local.day in day, (local.weekday() + 1) % 7 in weekday)
        if local.minute in minute and local.hour in hour and local.month in month and (all(days) if day_and else any(days)):
            found.append(local)
        local += MINUTE
    return found


BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def _values(field: str, lowest: int, highest: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        base, _, step = part.partition("/")
        low, _, high = base.partition("-")
        first = lowest if base == "*" else int(low)
        last = highest if base == "*" or (step and not high) else int(high or low)
        found |= set(range(first, last + 1, int(step or 1)))
    return found


def fields(lowest: int, highest: int) -> st.SearchStrategy[str]:
    number = st.integers(lowest, highest)
    ranges = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    return st.one_of(
        st.just("*"), number.map(str), st.integers(1, 40).map(lambda step: f"*/{step}"), ranges,
        st.lists(number.map(str), min_size=1, max_size=3).map(",".join),
        st.tuples(ranges, st.integers(1, 7)).map(lambda both: f"{both[0]}/{both[1]}"),
    )  # fmt: skip


@functools.cache
def changes(zone: str) -> list[datetime]:
    """The hours of 1990 to 2037 in which this zone's offset changes."""
    found, now, end, key = [], datetime(1990, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC), ZoneInfo(zone)
    while now < end:
        if now.astimezone(key).utcoffset() != (now + 24 * HOUR).astimezone(key).utcoffset():
            found.append(now)
        now += 24 * HOUR
    return found or [datetime(2026, 3, 28, tzinfo=UTC)]


ASKED = (
    st.integers(0, 10**6), fields(0, 59), st.one_of(fields(0, 23), st.sampled_from(["*", "0-4", "1,2,3"])),
    st.sampled_from(["*", "*/2", "1-31", "1,15"]), st.sampled_from(["*", "0,6", "*/3"]), st.sampled_from(["shift", "skip"]),
    st.sampled_from(["first", "last", "both"]), st.integers(0, 30),
)  # fmt: skip


@settings(max_examples=25, phases=NO_SHRINKING)
@given(st.sampled_from(ZONES), st.tuples(*ASKED))
def test_the_rule_holds_against_all_instants_around_the_changes_of_the_clock(zone: str, asked: Any) -> None:
    check_against_all_instants(zone, *asked)


@pytest.mark.long
@settings(max_examples=3_000, phases=NO_SHRINKING)
@given(st.sampled_from(sorted(available_timezones() - {"Factory", "localtime"})), st.tuples(*ASKED))
def test_the_rule_holds_in_every_zone(zone: str, asked: Any) -> None:
    check_against_all_instants(zone, *asked)


def check_against_all_instants(
    zone: str, which: int, minute: str, hour: str, day: str, weekday: str, gap: str, fold: str, lead_h: int
) -> None:
    change = changes(zone)[which % len(changes(zone))]
    begin, end = change - lead_h * HOUR, change + 40 * HOUR
    timing = Timing(cron=f"{minute} {hour} {day} * {weekday}", time_zone=zone, dst_gap=gap, dst_fold=fold)
    found = []
    for fire in fires_after(timing, begin - MINUTE):
        if fire >= end:
            break
        found.append(fire)

    assert found == sorted(set(found)), "strictly later than the last"
    assert set(found) == instants(timing, begin, end)


@settings(max_examples=40, phases=NO_SHRINKING)
@given(st.sampled_from(ZONES), st.integers(0, 10**6), st.integers(0, 70 * 60), fields(0, 59), st.sampled_from(["*", "2", "0-23/2"]))
def test_the_next_fire_is_the_same_from_wherever_one_asks(zone: str, which: int, minutes: int, minute: str, hour: str) -> None:
    begin = changes(zone)[which % len(changes(zone))] - 30 * HOUR
    timing = Timing(cron=f"{minute} {hour} * * *", time_zone=zone)
    asked = begin + minutes * MINUTE + timedelta(seconds=minutes % 60)

    first = next(fire for fire in fires_after(timing, begin) if fire > asked)

    assert next_fire(timing, asked) == first


@settings(max_examples=100, phases=NO_SHRINKING)
@given(
    st.one_of(st.integers(1, 100_000).map(float), st.decimals(1, 1000, places=3).map(float)),
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)), st.booleans(),
)  # fmt: skip
def test_intervals_are_multiples_from_the_start_on(every_s: float, after: datetime, has_start: bool) -> None:
    after = after.replace(microsecond=after.microsecond // 1000 * 1000)
    start = datetime(2020, 2, 3, 4, 5, 6, 7000, tzinfo=UTC) if has_start else None
    timing = Timing(every_s=every_s, starts_at=start)

    first, second, third = islice(fires_after(timing, after), 3)

    base = start or datetime(1970, 1, 1, tzinfo=UTC)
    assert after < first < second < third and first >= base
    number = round((first - base) / timedelta(seconds=every_s))
    assert abs((first - base).total_seconds() - number * every_s) < 0.002
    assert (first - max(after, base)).total_seconds() <= every_s + 0.001
    assert count_fires(timing, since=first, until=third, at_most=1) == (3, True)


def test_the_newest_fires_are_found_from_the_end() -> None:
    timing = Timing(cron="*/7 * * * *", time_zone="Europe/Berlin")
    since, until = at("2020-01-01"), at("2026-03-29T04:00")

    newest = newest_fires(timing, since=since, until=until, count=100)

    assert newest == list(islice(fires_after(timing, newest[0] - MINUTE), 100)) and next_fire(timing, newest[-1]) > until  # type: ignore[operator]
    assert newest_fires(timing, since=until - 10 * MINUTE, until=until, count=100) == newest[-2:]
    assert newest_fires(Timing(every_s=60), since=since, until=until, count=3) == [until - 2 * MINUTE, until - MINUTE, until]


@pytest.mark.parametrize(
    "timing", [Timing(every_s=1, ends_at=at("2026-01-01")), Timing(cron="* * * * *", ends_at=at("2026-01-01"))]
)
def test_the_newest_fires_of_an_end_that_passed_long_ago_are_found_at_once(timing: Timing) -> None:
    step = timedelta(seconds=1) if timing.cron is None else MINUTE

    newest = newest_fires(timing, since=at("2025-12-31"), until=at("2036-01-01"), count=3)

    assert newest == [at("2026-01-01") - 2 * step, at("2026-01-01") - step, at("2026-01-01")]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("field", [{"cron": "* * * * *"}, {"every_s": 59.5}])
def test_the_ends_of_the_calendar_are_no_error(zone: str, field: dict[str, Any]) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    timing = Timing(time_zone=zone, **field)

    assert len(list(islice(fires_after(timing, first), 3))) == 3 and list(fires_after(timing, last)) == []
    assert list(fires_after(Timing(time_zone=zone, starts_at=last, **field), first)) == []
    early = Timing(time_zone=zone, starts_at=first, ends_at=at("0005-01-01"), **field)
    assert len(newest_fires(early, since=first, until=last, count=2)) == 2
    assert count_fires(early, since=first, until=last, at_most=9)[0] >= 9


def test_the_bounds_are_inclusive() -> None:
    timing = Timing(cron="0 * * * *", starts_at=at("2026-01-01T01:00"), ends_at=at("2026-01-01T03:00"))

    assert list(fires_after(timing, at("2025-01-01"))) == [at(f"2026-01-01T0{hour}:00") for hour in (1, 2, 3)]


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 LW * */7", "0 0 */31 * MON#5", "0 0 31 */2 */7", "59 23 31 2,4,6,9,11 *"])
def test_what_never_fires_or_seldom_is_told_at_once(cron: str) -> None:
    found = list(islice(parse_cron(cron).after(datetime(2026, 1, 1)), 1))

    assert found == [] or found[0] > datetime(2026, 1, 1)
