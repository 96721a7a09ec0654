"""The pytest fixture `jobyard`, for users' tests of their tasks. Every pytest run of an environment loads it, so it is small."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from jobyard.engine.testing.inline import InlineJobyard


@pytest.fixture
def jobyard() -> Iterator[InlineJobyard]:
    """A Jobyard within the test: it receives `task.submit`, and `jobyard.drain()` runs the submitted jobs."""
    inline_jobyard = importlib.import_module("jobyard.engine.testing.inline").InlineJobyard
    with inline_jobyard() as fresh:
        yield fresh
