"""A world whose clock only tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobyard.engine.world import World

START = datetime(2026, 1, 4, 2, 4, 20, 123000, tzinfo=UTC)


class FakeWorld(World):
    """Time stands still until `advance`; chance comes from a seed."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._random.seed(seed)
        self._now = START
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both clocks go on."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step_wall_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self._now += timedelta(seconds=seconds)
