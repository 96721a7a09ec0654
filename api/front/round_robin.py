"""Round robin over the healthy ones of some schedulers; when none is healthy, over all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from jobyard.api.front.health import Health


class RoundRobin:
    """Round robin over the schedulers behind one port; shared by the threads of a front process."""

    def __init__(self, schedulers: Callable[[], list[str]], health: Health) -> None:
        self._schedulers = schedulers
        self._health = health
        self._count = itertools.count()

    def next(self) -> list[str]:
        """The schedulers in the order in which to try them."""
        names = self._schedulers()
        candidates = [name for name in names if self._health.is_healthy(name)] or names
        first = next(self._count) % len(candidates) if candidates else 0
        return candidates[first:] + candidates[:first]

    def should_avoid(self, name: str) -> bool:
        """Whether this one is unhealthy while another one is healthy."""
        return not self._health.is_healthy(name) and any(self._health.is_healthy(other) for other in self._schedulers())
