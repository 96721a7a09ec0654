"""Times for people: local times with their distance from now, and durations with a unit."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    Duration = click.ParamType[float]
else:
    Duration = click.ParamType  # generic only since click 8.2

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
JUST_NOW_S = 1.0


def when(text: str | None, now: datetime) -> str:
    """`14:03:20 (in 3 h)`, with the date unless it is today; empty for None."""
    if text is None:
        return ""
    at = datetime.fromisoformat(text).astimezone(now.tzinfo)
    day = "" if at.date() == now.date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S} ({relative((at - now).total_seconds())})"


def relative(seconds: float) -> str:
    """`in 3 h`, `5 min ago`, `now`."""
    if abs(seconds) < JUST_NOW_S:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def span(seconds: float) -> str:
    """A duration in at most two units: `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{whole} s"


class Seconds(Duration):
    """A duration on the command line, such as `90`, `90s`, `5m`, `2h` or `1.5d`, converted to seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> float:
        """The duration in seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhd]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90, 90s, 5m, 2h or 1.5d", param, context)
        return float(found[1]) * UNITS[found[2] or "s"]


SECONDS = Seconds()
