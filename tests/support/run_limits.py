"""Limits that hold for every test: none runs for ever, and none depends on how the suite was started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

LONGEST_S = 900
"""Only a wait without a limit of its own gets here."""


def pytest_configure() -> None:
    """Undo what `nohup` and a script's `&` leave: tests send these signals to processes, which would inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else lambda number, frame: None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End a test that waits for ever."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test did not end within {LONGEST_S} s")

    if item.get_closest_marker("long") is not None:
        return (yield)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
