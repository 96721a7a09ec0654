"""Errors that pass within moments."""

from __future__ import annotations

import errno
import os

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.transient import TRANSIENT, retry_transient
from jobyard.engine.world import World


def failing(*errors: Exception) -> object:
    """An action that raises these, one after another, and then returns."""
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return act


@pytest.mark.parametrize("number", sorted(TRANSIENT))
def test_a_transient_error_is_retried_also_as_a_cause(number: int) -> None:
    refused = CannotStart("no")
    refused.__cause__ = OSError(number, os.strerror(number))

    assert retry_transient(failing(OSError(number, ""), refused), World()) == "done"  # type: ignore[arg-type]


def test_another_error_is_raised_at_once() -> None:
    with pytest.raises(OSError, match="full"):
        retry_transient(failing(OSError(errno.ENOSPC, "full")), World())  # type: ignore[arg-type]


def test_an_error_that_stays_is_raised() -> None:
    with pytest.raises(OSError, match="none free"):
        retry_transient(failing(*[OSError(errno.EMFILE, "none free")] * 9), World(), for_s=0)  # type: ignore[arg-type]
