"""Errors of the system that usually pass within moments: no descriptor, process, memory or buffer is free right now."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable
from typing import TypeVar

from jobyard.engine.world import World

T = TypeVar("T")

TRANSIENT = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
RETRY_EVERY_S = 0.05


def is_transient(error: BaseException | None) -> bool:
    """Whether the error, or its cause, is one of these."""
    return error is not None and (getattr(error, "errno", None) in TRANSIENT or is_transient(error.__cause__))


def retry_transient(action: Callable[[], T], world: World, *, for_s: float = 2.0) -> T:
    """The result of the action, which is repeated while it raises a transient error, for `for_s` seconds at most."""
    give_up_at = world.monotonic() + for_s
    while True:
        try:
            return action()
        except Exception as fault:
            if not is_transient(fault) or world.monotonic() >= give_up_at:
                raise
        select.select([], [], [], RETRY_EVERY_S)
