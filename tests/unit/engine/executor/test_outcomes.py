"""How a task's exception is worded."""

from __future__ import annotations

import pytest

from jobyard import Retry
from jobyard.engine.executor.outcomes import raised


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt"), (AssertionError(), "AssertionError"),
        (ValueError("no"), "ValueError: no"), (Retry(""), "Retry"), (Retry("later"), "Retry: later"),
    ],
)  # fmt: skip
def test_an_exception_without_words_is_named_without_a_colon(wrong: BaseException, error: str) -> None:
    assert raised(wrong, ours="nowhere").error == error
