"""The order in which the components of a stopping system exit."""

from __future__ import annotations

from jobyard.engine.control.protocol import CONTROL
from jobyard.engine.supervisor.hooks import Stage
from jobyard.engine.topology import FRONT, GATEWAY, QUEUE, SCHEDULER, WATCHER, WORKER

LEAVE_S = 5.0
FRONT_LEAVES_S = 20.0
"""Longer than gunicorn's own timeout for accepted requests."""


def drain_stages(drain_s: float) -> list[Stage]:
    """The stages of a stop, in order, and how long each may take.

    1. Watchers stop claiming; what they have claimed reaches its workers.
    2. Workers finish running jobs. Jobs that do not end within `DRAIN_S` are released.
    3. The queue exits: everything that it holds is in the store.
    4. The front answers the requests that it has accepted, then closes.
    5. The schedulers exit: no process can send them requests any more.
    6. Control exits: all others have published their last counters.
    """
    return [
        Stage(roles=frozenset({WATCHER}), timeout_s=LEAVE_S),
        Stage(roles=frozenset({WORKER}), timeout_s=drain_s + LEAVE_S),
        Stage(roles=frozenset({QUEUE}), timeout_s=LEAVE_S),
        Stage(roles=frozenset({GATEWAY, FRONT}), timeout_s=FRONT_LEAVES_S),
        Stage(roles=frozenset({SCHEDULER}), timeout_s=LEAVE_S),
        Stage(roles=frozenset({CONTROL}), timeout_s=LEAVE_S),
    ]
