"""Reads cron expressions, by the rules of Debian's cron, and steps from one local time to the next that matches.

`cronsim` parses and steps; it gets naive local times only, and `fire_times` maps these to instants. What people may expect and this
is not (six fields, `W`, `?`, `H`, `~`, ranges that wrap, `@reboot`) is refused with the field, the part, and what would be right.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from datetime import datetime

from cronsim import CronSim, CronSimError

from jobyard.engine.jobs.strict_json import shown

MAX_CHARS = 256
ALIASES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of month", 1, 31, ()), ("month", 1, 12, MONTHS), ("day of week", 0, 7, DAYS),
)  # fmt: skip
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""The days of each month, at most."""
_STEP = re.compile(r"(.+)/([^/]+)", re.DOTALL)
_ONE_TO_ITSELF = re.compile(r"\b(\w+)-\1/[0-9]+")
"""A range of one with a step, which is that one; `cronsim` takes it for a beginning."""
_NTH = re.compile(r"([^#]+)#([^#]*)", re.DOTALL)


class InvalidCron(ValueError):
    """The message says which field and part is wrong, and what would be right."""


class Cron:
    """A parsed expression."""

    def __init__(self, expression: str) -> None:
        self.text = expression
        parts = _split(expression)
        for number, part in enumerate(parts):
            _check_field(number, part)
        self.is_fixed = not parts[0].startswith("*") and not parts[1].startswith("*")
        """Whether it means certain times of the day, rather than every so often."""
        self._simulator = _simulator(parts)

    def after(self, local: datetime) -> Iterator[datetime]:
        """The matching local times later than this naive one; none if no day ever matches."""
        if self._simulator is None:
            return
        simulator = copy.copy(self._simulator)
        simulator.dt = local.replace(microsecond=0)
        try:
            yield from simulator
        except (OverflowError, ValueError):  # past the year 9999
            return


@functools.lru_cache(maxsize=4096)
def parse_cron(expression: str) -> Cron:
    """Raises `InvalidCron`."""
    return Cron(expression)


def _split(expression: str) -> list[str]:
    if len(expression) > MAX_CHARS:
        raise InvalidCron(f"it has {len(expression)} characters; at most {MAX_CHARS} are allowed")
    if not expression.isascii() or not expression.strip():
        raise InvalidCron("it needs five fields: minute, hour, day of month, month, day of week, such as 30 2 * * *")
    text = expression.strip(" \t")
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            raise InvalidCron(f"{shown(text)} is not known; the names are {', '.join(ALIASES)}; for intervals, use every_s")
        return ALIASES[text.lower()].split(" ")
    if re.match(r"(CRON_)?TZ\s*=", text, re.IGNORECASE):
        raise InvalidCron("the time zone is not part of the expression; give it as time_zone")
    parts = [part for part in re.split(r"[ \t]+", text.upper()) if part]
    if len(parts) == 6:
        raise InvalidCron("it has six fields; five are right: there are no seconds, for these use every_s")
    if len(parts) != 5:
        raise InvalidCron(f"it has {len(parts)} fields; five are right: minute, hour, day of month, month, day of week")
    return parts


def _check_field(number: int, field: str) -> None:
    for part in field.split(","):
        _check_part(number, part)


def _check_part(number: int, part: str) -> None:
    name, lowest, highest, _ = FIELDS[number]
    if part == "":
        raise _wrong(number, part, "there is nothing between its commas")
    for sign, told in (("?", "use *"), ("~", "use jitter_s for a random time"), ("H", "use jitter_s to spread schedules")):
        if part == sign or (sign != "H" and sign in part) or (sign == "H" and re.match(r"H(\(|/|$)", part)):
            raise _wrong(number, part, f"{sign} is not supported; {told}")
    base, step = part, None
    if (found := _STEP.fullmatch(part)) is not None:
        base, step = found[1], found[2]
        if not step.isdigit() or int(step) == 0:
            raise _wrong(number, part, f"a step is a number from 1, such as */{min(15, highest)}")
    if base == "*" or _is_special(number, base, step):
        return
    low, dash, high = base.partition("-")
    first = _value(number, part, low)
    if dash:
        last = _value(number, part, high)
        if last < first:
            raise _wrong(number, part, f"a range begins with its lower end; write {_unwrapped(number, low, high)}")


def _is_special(number: int, base: str, step: str | None) -> bool:
    """Whether it is `L` or `LW` in the day of month, or `5L` or `MON#2` in the day of week."""
    if number == DAY_OF_MONTH and base in ("L", "LW") and step is None:
        return True
    if number == DAY_OF_MONTH and re.fullmatch(r"[0-9]{1,2}W", base):
        raise _wrong(number, base, "the nearest weekday is not supported; LW, the last weekday of the month, is")
    if number != DAY_OF_WEEK or step is not None:
        return False
    if re.fullmatch(r"[0-7]L", base):
        return True
    if (found := _NTH.fullmatch(base)) is not None:
        _value(number, base, found[1])
        if found[2] not in ("1", "2", "3", "4", "5"):
            raise _wrong(number, base, "after # comes a number from 1 to 5, such as MON#2 for the second Monday")
        return True
    return False


def _value(number: int, part: str, text: str) -> int:
    _, lowest, highest, names = FIELDS[number]
    if text in names:
        return names.index(text) + (1 if names is MONTHS else 0)
    if not text.isdigit() or len(text) > 4 or not lowest <= int(text) <= highest:
        also = f" or {names[0]} to {names[-1]}" if names else ""
        raise _wrong(number, part, f"{shown(text)} is not a number from {lowest} to {highest}{also}")
    return int(text)


def _unwrapped(number: int, low: str, high: str) -> str:
    _, lowest, highest, names = FIELDS[number]
    top = highest - 1 if number == DAY_OF_WEEK else highest
    first, last = (names[0], names[-1]) if number == DAY_OF_WEEK and not low.isdigit() else (str(lowest), str(top))
    ends = [low if low == last else f"{low}-{last}", high if high == first else f"{first}-{high}"]
    return ",".join(ends)


def _wrong(number: int, part: str, told: str) -> InvalidCron:
    return InvalidCron(f"in the {FIELDS[number][0]}, {shown(part)} is wrong: {told}")


def _simulator(parts: list[str]) -> CronSim | None:
    """None: no day ever matches, which takes long to find out by stepping."""
    try:
        simulator = CronSim(" ".join(_ONE_TO_ITSELF.sub(r"\1", part) for part in parts), datetime(2000, 1, 1))
    except CronSimError:  # the only one left after our own checks: no month has such a day
        return None
    days = [(month, day) for month in simulator.months for day in range(1, LONGEST[month] + 1)]
    return simulator if not simulator.day_and or any(_may_match(simulator, *day) for day in days) else None


def _may_match(simulator: CronSim, month: int, day: int) -> bool:
    """Whether this day matches in some year; every day is every day of the week in some year."""
    shortest = 28 if month == 2 else LONGEST[month]
    days_of_week = range(7)
    if day not in simulator.days and not (CronSim.LAST in simulator.days and day >= shortest):
        if CronSim.LAST_WEEKDAY not in simulator.days or day < shortest - 2:
            return False
        days_of_week = range(1, 6) if day >= shortest else range(5, 6)
    wanted = simulator.weekdays
    return any(
        day_of_week in wanted or (day_of_week == 0 and 7 in wanted)
        or (day + 7 > shortest and {(day_of_week, CronSim.LAST), (day_of_week or 7, CronSim.LAST)} & wanted)
        or {(day_of_week, (day + 6) // 7), (day_of_week or 7, (day + 6) // 7)} & wanted
        for day_of_week in days_of_week
    )  # fmt: skip
