"""Publishes a component's counters to control before its loop sleeps, when they changed, without ever waiting.

At most ten messages a second are sent, except for a short burst after a rest. A change within a tenth of a second of the last
message is sent when that time is over, so what control shows is at most a tenth of a second old. Unchanged counters are not sent
and wake nobody. While control has not answered the last message, newer counters wait; a new control process gets everything.
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
"""Messages that may follow each other at once after a rest, so that a job that has just ended is already counted."""
IN_PASSING_S = 5.0
LATEST, MINUTES = "latest", "minutes"
"""The parts of a publication, each a text that control stores without reading it; the minutes change once a minute."""


class Publisher:
    """Publishes the counters of one component."""

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
        """Whether a control process has acknowledged a publication."""
        return self._connection > 0 and (self._channel.is_free or self._channel.connections > 1)

    def tick(self, *, is_readable: bool, has_changed: bool) -> float:
        """Call before each sleep; returns its longest duration in seconds. `is_readable`: the channel's `wakeup_fd` is readable;
        `has_changed`: counters may have changed."""
        now = self._world.monotonic()
        if is_readable or now >= self._channel_at:
            self._advance_channel()
        self._is_due = self._is_due or has_changed
        if self._is_due and now >= self._next_at:
            self._publish_if_free()
        next_at = self._next_at if self._is_due and self._next_at > now else float("inf")
        return max(0.0, min(next_at, self._channel_at) - now)

    def close(self) -> None:
        """Publish the last changes."""
        self._publish_if_free()
        self._channel.close()

    def _advance_channel(self) -> None:
        self._channel.tick()
        self._channel.answers()
        self._channel_at = self._world.monotonic() + self._channel.sleep_s()
        self._is_due = self._is_due or self._channel.connections != self._connection

    def _publish_if_free(self) -> None:
        """The last answer may still be unread, because it did not wake the loop; if it is missing, its arrival will."""
        self._channel.waits_for_answer = True
        self._advance_channel()
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
        """The parts that may have changed; none while only values `in_passing` have changed recently."""
        counters = self._read()
        minutes, counters.minutes = counters.minutes, []
        in_passing = {name: counters.stats.pop(name) for name in counters.in_passing}
        text = msgspec.json.encode(counters)
        core = (text, len(minutes), minutes[-1].number if minutes else 0)
        if core == self._core and self._known and (not in_passing or self._world.monotonic() < self._sent_at + IN_PASSING_S):
            return {}
        if in_passing:
            counters.stats |= in_passing
            text = msgspec.json.encode(counters)
        parts = {LATEST: text.decode()}
        if core[1:] != self._core[1:] or MINUTES not in self._known:
            parts[MINUTES] = msgspec.json.encode(minutes).decode()
        self._core = core
        return parts
