"""Percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this percentage of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def moving_percentile(points: Sequence[tuple[float, Sequence[float]]], percent: float, *, over_s: float) -> list[float]:
    """For each point (time, values): the percentile of all values within half of `over_s` of it; NaN if there are none."""
    near = ([values for time_s, values in points if abs(time_s - at_s) <= over_s / 2] for at_s, _ in points)
    return [percentile([value for values in lists for value in values], percent) for lists in near]
