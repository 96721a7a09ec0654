"""A world whose clock is moved only by tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jobyard.engine.world import World

START = datetime(2026, 1, 4, 2, 4, 20, 123000, tzinfo=UTC)


class FakeWorld(World):
    """Time stands still until `advance`; random numbers come from a seed."""

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
        """Advance both clocks."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def step_wall_clock(self, seconds: float) -> None:
        """Set the wall clock, as a user or NTP does."""
        self._now += timedelta(seconds=seconds)
