"""The only place where tests wait: polls a condition until it holds, or fails with a message.

No test judges how long something takes: that depends on the machine, and belongs to `bin/bench`. A limit only ends a test that
hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

from jobyard.engine.wire.caller import NoAnswer

T = TypeVar("T")

LOOK_EVERY_S = 0.01
LIMIT_S = 120.0
"""At least ten times what any wait takes on a fast machine."""


def wait_for(what: Callable[[], T], *, within_s: float = LIMIT_S, told: str = "") -> T:
    """Poll until the result is true, and return it. Usual exceptions count as false. `told`: the condition's name on failure."""
    give_up_at = time.monotonic() + within_s
    while True:
        try:
            seen: object = (found := what())
            if found:
                return found
        except (OSError, LookupError, ValueError, HTTPException, NoAnswer) as not_yet:
            seen = repr(not_yet)
        if time.monotonic() > give_up_at:
            raise AssertionError(f"timed out after {within_s} s waiting for {told or 'a condition'}; last seen: {seen!r}")
        time.sleep(LOOK_EVERY_S)


def wait_steady(read: Callable[[], T], *, for_s: float = 1.0, within_s: float = LIMIT_S, told: str = "") -> T:
    """Poll until the result has stayed the same for so long, and return it: for counters that are published a moment later."""
    seen = read()
    since = time.monotonic()

    def is_steady() -> bool:
        nonlocal seen, since
        now = read()
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since >= for_s

    wait_for(is_steady, within_s=within_s, told=told or "steady counters")
    return seen
