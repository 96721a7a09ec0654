"""Hooks for every test; see the modules."""

from tests.support.process_sweep import (  # noqa: F401
    pytest_fixture_setup,
    pytest_runtest_makereport,
    pytest_runtest_protocol,
    pytest_runtest_teardown,
)
from tests.support.run_limits import pytest_configure, pytest_runtest_call  # noqa: F401
