"""What follows from how long jobs of a task take."""

from __future__ import annotations

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.worker.duration_estimates import SHORT_S, DurationEstimates


def test_a_task_that_was_long_from_the_start_has_a_cost_to_be_told() -> None:
    durations = DurationEstimates()

    durations.note("video", 10 * SHORT_S)

    assert durations.costs == {"video": SLOT_UNITS}


def test_a_cost_that_has_not_changed_is_the_same_object() -> None:
    durations = DurationEstimates()
    durations.note("video", 10 * SHORT_S)
    before = durations.costs

    durations.note("video", 20 * SHORT_S)

    assert durations.costs is before
