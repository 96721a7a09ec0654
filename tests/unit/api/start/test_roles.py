"""How the roles are built: what follows from the settings for each post."""

from __future__ import annotations

import os

from jobyard.api.start.roles import Start, spec_for
from jobyard.engine.config import read_settings
from jobyard.engine.supervisor.process_table import FIRST_SIGN_S
from jobyard.engine.topology import all_components
from tests.support.builders import a_log
from tests.support.world import FakeWorld


def test_no_role_imports_the_users_modules_so_all_have_the_same_time_to_begin() -> None:
    settings = read_settings({"WORKERS": "3"})
    start = Start(settings=settings, world=FakeWorld(), log=a_log(), boot="b00t", supervisor=os.getpid(), template="template")

    specs = [spec_for(component, start) for component in all_components(settings) if component.role != "gateway"]

    assert {spec.first_sign_s for spec in specs} == {FIRST_SIGN_S}
