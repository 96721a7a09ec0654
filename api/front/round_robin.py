"""Whose turn it is: round robin over those of some schedulers that are well; with none well, over all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from jobyard.api.front.health import Health


class RoundRobin:
    """Of the schedulers that one port leads to; shared by the threads of a front process."""

    def __init__(self, schedulers: Callable[[], list[str]], health: Health) -> None:
        self._schedulers = schedulers
        self._health = health
        self._count = itertools.count()

    def next(self) -> list[str]:
        """Whom to ask first, and whom then."""
        names = self._schedulers()
        asked = [name for name in names if self._health.is_well(name)] or names
        first = next(self._count) % len(asked) if asked else 0
        return asked[first:] + asked[:first]

    def is_better_without(self, name: str) -> bool:
        """Whether this one is not well, and another is."""
        return not self._health.is_well(name) and any(self._health.is_well(other) for other in self._schedulers())
