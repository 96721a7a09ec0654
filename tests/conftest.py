"""What holds for every test, see the modules. As plugins, because hooks of a conftest do not see the fixtures of a session."""

from __future__ import annotations

import hypothesis
import pytest

from tests.support import process_sweep, run_limits


def pytest_configure(config: pytest.Config) -> None:
    """Called once, when this file is read. No example of a property is judged by its time: another program may have the cores."""
    hypothesis.settings.register_profile("suite", deadline=None)
    hypothesis.settings.load_profile("suite")
    for plugin in (process_sweep, run_limits):
        if not config.pluginmanager.is_registered(plugin):
            config.pluginmanager.register(plugin)
