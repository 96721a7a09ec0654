"""Publishes a component's counters on the way to sleep: when they changed, ten times a second at most, never waiting.

What changed within a tenth of a second of the last time goes out at the end of it, so what control shows is no older than that.
Nothing changed: nothing is sent, and nobody wakes. A control that stands still is not waited for: the newest counters go out as
soon as it has taken the ones before; a new one is told everything anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import COUNTERS
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.world import World

EVERY_S = 0.1
LATEST, MINUTES = "latest", "minutes"
"""The parts of what is published, each a text that control keeps unread; the minutes only change once in a minute."""


class Publisher:
    """Of one component."""

    def __init__(self, channel: Channel, world: World, *, name: str, read: Callable[[], ComponentCounters]) -> None:
        self._channel = channel
        self._world = world
        self._name = name
        self._read = read
        self._known: dict[str, str] = {}
        self._connection = 0
        self._next_at = world.monotonic()

    @property
    def has_published(self) -> bool:
        """Whether control has what we published, or has taken it in an earlier life."""
        return self._connection > 0 and (self._channel.is_free or self._channel.connections > 1)

    def turn(self, *, rang: bool = True) -> float:
        """Called before each sleep; the longest that it may last. `rang`: the channel's bell did."""
        now = self._world.monotonic()
        if not rang and now < self._next_at:
            return self._next_at - now
        self._channel.turn()
        self._channel.answers()
        if now < self._next_at:
            return self._next_at - now
        if not self._channel.is_free:
            self._channel.waits_for_answer = True
            self._channel.turn()
            return self._channel.sleep_s()
        self._next_at = now + EVERY_S
        self._publish()
        return self._channel.sleep_s()

    def close(self) -> None:
        """Publish what is new for the last time."""
        self._next_at = self._world.monotonic()
        self.turn()
        self._channel.close()

    def _publish(self) -> None:
        if self._channel.connections != self._connection:
            self._known = {}
        changed = {part: text for part, text in self._parts().items() if self._known.get(part) != text}
        if not changed:
            return
        self._channel.waits_for_answer = self._channel.connections != self._connection
        self._connection = self._channel.connections
        self._known |= changed
        self._channel.ask(COUNTERS, "publish", self._name, os.getpid(), self._world.monotonic(), changed)

    def _parts(self) -> dict[str, str]:
        counters = self._read()
        minutes, counters.minutes = counters.minutes, []
        return {LATEST: msgspec.json.encode(counters).decode(), MINUTES: msgspec.json.encode(minutes).decode()}
