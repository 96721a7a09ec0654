"""How the roles are built: what follows from the settings for each post."""

from __future__ import annotations

import os

import pytest

from jobyard.api.start.roles import Start, spec_for
from jobyard.api.start.task_modules import MODULES_S
from jobyard.engine.config import read_settings
from jobyard.engine.supervisor.process_table import FIRST_SIGN_S
from jobyard.engine.topology import all_components
from tests.support.builders import a_log
from tests.support.world import FakeWorld


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_modules_that_a_start_accepts_leave_every_worker_the_time_to_import_them(workers: int) -> None:
    settings = read_settings({"WORKERS": str(workers)})
    start = Start(settings=settings, world=FakeWorld(), log=a_log(), boot="b00t", supervisor=os.getpid())

    specs = [spec_for(component, start) for component in all_components(settings) if component.role != "gateway"]

    assert {spec.first_sign_s for spec in specs if spec.role == "worker"} == {(1 + workers) * MODULES_S}
    assert {spec.first_sign_s for spec in specs if spec.role != "worker"} == {FIRST_SIGN_S}
