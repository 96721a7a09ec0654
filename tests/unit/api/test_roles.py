"""How the roles are built: what follows from the settings for each post."""

from __future__ import annotations

import os

import pytest

from api.roles import Start, post_for
from api.task_modules import MODULES_S
from api.topology import all_components
from engine.config import read_settings
from engine.processes.table import FIRST_SIGN_S
from tests.support.builders import a_log
from tests.support.world import FakeWorld


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_modules_that_a_start_accepts_leave_every_worker_the_time_to_import_them(workers: int) -> None:
    settings = read_settings({"WORKERS": str(workers)})
    start = Start(settings=settings, world=FakeWorld(), log=a_log(), boot="b00t", supervisor=os.getpid())

    posts = [post_for(component, start) for component in all_components(settings) if component.role != "gateway"]

    assert {post.first_sign_s for post in posts if post.role == "worker"} == {(1 + workers) * MODULES_S}
    assert {post.first_sign_s for post in posts if post.role != "worker"} == {FIRST_SIGN_S}
