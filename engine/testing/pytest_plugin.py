"""The pytest fixture `jobyard`, for the tests of whoever has tasks. Every pytest of an environment loads this, so it is small."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobyard.engine.testing.inline import InlineJobyard


@pytest.fixture
def jobyard() -> Iterator[InlineJobyard]:
    """A Jobyard within the test: `task.submit` comes here, `jobyard.drain()` runs what was submitted."""
    inline_jobyard = importlib.import_module("jobyard.engine.testing.inline").InlineJobyard
    with inline_jobyard() as fresh:
        yield fresh
