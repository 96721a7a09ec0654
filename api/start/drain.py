"""The order in which a stopping system leaves."""

from __future__ import annotations

from jobyard.engine.control.protocol import CONTROL
from jobyard.engine.supervisor.supervisor import Stage
from jobyard.engine.topology import FRONT, GATEWAY, QUEUE, SCHEDULER, WATCHER, WORKER

LEAVE_S = 5.0
FRONT_LEAVES_S = 20.0
"""Longer than gunicorn's own time for what it has accepted."""


def drain_stages(drain_s: float) -> list[Stage]:
    """The order in which a stopping system leaves, and how long each may take.

    1. Watchers stop claiming, workers stop taking and finish what runs; what does not end within `DRAIN_S` they hand back.
    2. The queue leaves: all that it holds stands in the store.
    3. The front answers what it has accepted, then serves no more.
    4. The schedulers leave: nobody is there who could ask them.
    5. Control leaves, to which all others have told their last.
    """
    return [
        Stage(roles=frozenset({WATCHER, WORKER}), bound_s=drain_s + LEAVE_S),
        Stage(roles=frozenset({QUEUE}), bound_s=LEAVE_S),
        Stage(roles=frozenset({GATEWAY, FRONT}), bound_s=FRONT_LEAVES_S),
        Stage(roles=frozenset({SCHEDULER}), bound_s=LEAVE_S),
        Stage(roles=frozenset({CONTROL}), bound_s=LEAVE_S),
    ]
