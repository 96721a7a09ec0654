"""The one place where a test waits: it looks again and again until something is so, or fails with words."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

from jobyard.engine.wire.caller import NoAnswer

T = TypeVar("T")

LOOK_EVERY_S = 0.01


def wait_for(what: Callable[[], T], *, within_s: float = 30.0, told: str = "") -> T:
    """What it gives as soon as that is true; an exception in it counts as not yet."""
    give_up_at = time.monotonic() + within_s
    while True:
        try:
            seen: object = (found := what())
            if found:
                return found
        except (OSError, LookupError, ValueError, HTTPException, NoAnswer) as not_yet:
            seen = repr(not_yet)
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{told or 'it'} was not so within {within_s} s; last seen: {seen!r}")
        time.sleep(LOOK_EVERY_S)
