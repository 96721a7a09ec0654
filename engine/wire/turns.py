"""Whose turn it is among the watchers of a host."""

from __future__ import annotations

from collections.abc import Sequence

TURN_S = 0.5


def whose_turn(watchers: Sequence[str], monotonic_s: float) -> str:
    """The watcher that everybody wakes for a while: it has the places for what it is told of, and claims for all."""
    return watchers[int(monotonic_s / TURN_S) % len(watchers)]
