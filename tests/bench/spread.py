"""Percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def moving_percentile(points: Sequence[tuple[float, Sequence[float]]], percent: float, *, over_s: float) -> list[float]:
    """For each point (its time, its values): the percentile of all values that are at most half of `over_s` away; NaN of none."""
    near = ([values for time_s, values in points if abs(time_s - at_s) <= over_s / 2] for at_s, _ in points)
    return [percentile([value for values in lists for value in values], percent) for lists in near]
