"""What readers see of a running job's hold."""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.owners import as_held
from tests.support.builders import a_job
from tests.support.world import START

NOW = START + timedelta(seconds=7)
WORKER = "box:b00t:worker-7001:1"


def test_a_hold_of_a_living_owner_is_shown_to_last_a_lease_from_now() -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)

    known = as_held(job, seen_at={"b00t": NOW}.get, lease_s=30)
    unknown = as_held(job, seen_at={"other": NOW}.get, lease_s=30)

    assert (known.locked_until, unknown.locked_until) == (NOW + timedelta(seconds=30), job.locked_until)


def test_the_lease_of_an_http_worker_is_shown_as_it_is_stored() -> None:
    job = a_job(status=Status.RUNNING, locked_by="http/ann", locked_until=NOW)

    assert as_held(job, seen_at={"b00t": NOW}.get, lease_s=30) is job
