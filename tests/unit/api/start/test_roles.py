"""Building the roles from the settings."""

from __future__ import annotations

import os

from jobyard.api.start.roles import Start, spec_for
from jobyard.engine.config import read_settings
from jobyard.engine.supervisor.process_table import STARTUP_TIMEOUT_S
from jobyard.engine.topology import all_components
from tests.support.builders import a_log
from tests.support.world import FakeWorld


def test_all_roles_have_the_same_startup_timeout() -> None:
    settings = read_settings({"WORKERS": "3"})
    start = Start(settings=settings, world=FakeWorld(), log=a_log(), boot="b00t", supervisor=os.getpid(), template="template")

    specs = [spec_for(component, start) for component in all_components(settings) if component.role != "gateway"]

    assert {spec.startup_timeout_s for spec in specs} == {STARTUP_TIMEOUT_S}
