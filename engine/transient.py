"""Errors of the system that usually pass within moments: no descriptor, process, memory or buffer is free right now."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable, Iterator
from typing import TypeVar

from jobyard.engine.world import World

T = TypeVar("T")

TRANSIENT = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
RETRY_EVERY_S, RETRY_FOR_S = 0.05, 2.0


def is_transient(error: BaseException | None) -> bool:
    """Whether the error, or its cause, is one of these."""
    return error is not None and (getattr(error, "errno", None) in TRANSIENT or is_transient(error.__cause__))


def attempts(world: World, *, for_s: float = RETRY_FOR_S) -> Iterator[bool]:
    """One iteration per attempt, with a pause between two, for `for_s` seconds; yields whether it is the last one."""
    give_up_at = world.monotonic() + for_s
    while not (is_last := world.monotonic() >= give_up_at):
        yield is_last
        select.select([], [], [], RETRY_EVERY_S)
    yield is_last


def retry_transient(action: Callable[[], T], world: World, *, for_s: float = RETRY_FOR_S) -> T:
    """The result of the action, which is repeated while it raises a transient error, for `for_s` seconds at most."""
    for is_last in attempts(world, for_s=for_s):
        try:
            return action()
        except Exception as fault:
            if is_last or not is_transient(fault):
                raise
    raise AssertionError("the last attempt returns or raises")
