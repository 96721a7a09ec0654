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
BURST = 3
"""After a rest so many go out at once: so whoever looks for a job that has just ended finds it counted."""
IN_PASSING_S = 5.0
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
        self._core = (b"", 0, 0)
        self._connection = 0
        self._is_due = True
        self._next_at = self._channel_at = world.monotonic()
        self._paid_until = float("-inf")
        self._sent_at = float("-inf")

    @property
    def has_published(self) -> bool:
        """Whether some control process has taken what we published."""
        return self._connection > 0 and (self._channel.is_free or self._channel.connections > 1)

    def turn(self, *, rang: bool, has_changed: bool) -> float:
        """Called before each sleep; the longest that it may last. `rang`: the channel's bell; `has_changed`: something may have."""
        now = self._world.monotonic()
        if rang or now >= self._channel_at:
            self._go_on()
        self._is_due = self._is_due or has_changed
        if self._is_due and now >= self._next_at:
            self._publish_if_free()
        next_at = self._next_at if self._is_due and self._next_at > now else float("inf")
        return max(0.0, min(next_at, self._channel_at) - now)

    def close(self) -> None:
        """Publish what is new for the last time."""
        self._publish_if_free()
        self._channel.close()

    def _go_on(self) -> None:
        self._channel.turn()
        self._channel.answers()
        self._channel_at = self._world.monotonic() + self._channel.sleep_s()
        self._is_due = self._is_due or self._channel.connections != self._connection

    def _publish_if_free(self) -> None:
        """The last answer may wait unread, for it woke nobody. Where it is missing, its arrival will."""
        self._channel.waits_for_answer = True
        self._go_on()
        if self._channel.is_free:
            self._is_due = False
            now = self._world.monotonic()
            self._paid_until = max(self._paid_until, now - BURST * EVERY_S) + EVERY_S
            self._next_at = max(now, self._paid_until)
            self._publish()

    def _publish(self) -> None:
        is_first = self._channel.connections != self._connection
        if is_first:
            self._known = {}
        changed = {part: text for part, text in self._parts().items() if self._known.get(part) != text}
        if not changed:
            return
        self._channel.waits_for_answer = is_first
        self._connection = self._channel.connections
        self._known |= changed
        self._sent_at = self._world.monotonic()
        self._channel.ask(COUNTERS, "publish", self._name, os.getpid(), self._sent_at, changed)

    def _parts(self) -> dict[str, str]:
        """As they are; or as they were, when only that has changed which is not worth a message of its own yet."""
        counters = self._read()
        minutes, counters.minutes = counters.minutes, []
        in_passing = {name: counters.stats.pop(name) for name in counters.in_passing}
        core = (msgspec.json.encode(counters), len(minutes), minutes[-1].number if minutes else 0)
        if core == self._core and self._known and self._world.monotonic() < self._sent_at + IN_PASSING_S:
            return {}
        self._core = core
        counters.stats |= in_passing
        return {LATEST: msgspec.json.encode(counters).decode(), MINUTES: msgspec.json.encode(minutes).decode()}
