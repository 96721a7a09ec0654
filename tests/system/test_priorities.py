"""The order in which jobs run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobyard.engine.timestamps import rfc3339
from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

FLOOD = 8_000
FLOOD_BATCH = 4_000


@contextmanager
def slot_held(jobyard: Jobyard, notes: Notes, folder: Path) -> Iterator[None]:
    """Keep the only slot busy until the end of the `with`."""
    until = folder / "until"
    job_id = jobyard.submit(notes.payload(until=str(until)), task="hold")
    notes.wait(job_id)
    try:
        yield
    finally:
        until.touch()


def submit_labelled(jobyard: Jobyard, notes: Notes, label: object, **fields: object) -> str:
    return jobyard.submit(notes.payload(label=label), task="run", **fields)


def waiting(jobyard: Jobyard) -> list[str]:
    """The ids of the due jobs, in the order in which the queue says that they will be handed out."""
    return [item["job_id"] for item in jobyard.get("/queue", port=6000).json["items"] if item["state"] == "ready"]


def wait_due(jobyard: Jobyard, job_ids: list[str]) -> None:
    wait_for(lambda: set(waiting(jobyard)) == set(job_ids), told="all of them due")


def test_the_highest_priority_goes_first_and_the_older_among_equals(one_slot: Jobyard, notes: Notes, tmp_path: Path) -> None:
    with slot_held(one_slot, notes, tmp_path):
        jobs = {
            label: submit_labelled(one_slot, notes, label, priority=priority)
            for label, priority in (("low 1", "low"), ("5 a", 5), ("9 a", 9), ("0", 0), ("5 b", 5), ("high", "high"), ("low 2", 1))
        }
        wait_due(one_slot, list(jobs.values()))
        shown = waiting(one_slot)
    for job_id in jobs.values():
        one_slot.wait_for_job(job_id)

    order = ["9 a", "high", "5 a", "5 b", "low 1", "low 2", "0"]
    assert [label for label in notes.labels() if label is not None] == order
    assert shown == [jobs[label] for label in order]


def test_a_job_that_was_due_earlier_goes_first(one_slot: Jobyard, notes: Notes, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with slot_held(one_slot, notes, tmp_path):
        later = submit_labelled(one_slot, notes, "later", scheduled_at=rfc3339(now + timedelta(seconds=0.2)))
        earlier = submit_labelled(one_slot, notes, "earlier", scheduled_at=rfc3339(now + timedelta(seconds=0.1)))
        wait_due(one_slot, [later, earlier])
    for job_id in (later, earlier):
        one_slot.wait_for_job(job_id)

    assert [label for label in notes.labels() if label is not None] == ["earlier", "later"]


def test_an_urgent_job_passes_a_flood_of_low_ones(jobyard: Jobyard, notes: Notes, database: dict[str, str]) -> None:
    if database:
        pytest.skip("the test's MongoDB is too slow for the flood; tests/unit/engine/watcher/test_watcher.py covers the order")
    for _ in range(FLOOD // FLOOD_BATCH):
        flood = {"jobs": [{"priority": "low"}] * FLOOD_BATCH}
        assert jobyard.ask("POST", "/api/jobs/batch", flood).status == 201

    urgent = submit_labelled(jobyard, notes, "urgent", priority="high")
    notes.wait(urgent)
    jobs = jobyard.stats()["jobs"]

    assert jobs.get("pending", 0) + jobs.get("queued", 0) > 500, "it began with the last of the flood, or that was over soon"
    wait_for(lambda: jobyard.stats()["jobs"].get("pending", 0) + jobyard.stats()["jobs"].get("queued", 0) == 0)
