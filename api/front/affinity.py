"""Which scheduler gets the next submissions: round robin, but under load the same one for a short while.

A scheduler stores in one commit whatever has arrived meanwhile. If every submission went to the next scheduler, each commit would
hold few jobs. With 16 clients that send one job at a time, a submission costs a third less CPU this way.
"""

from __future__ import annotations

from jobyard.api.front.load_balancer import LoadBalancer
from jobyard.engine.world import World

AFFINITY_S = 0.05
"""Short enough that the load stays even over any time that somebody looks at."""


class Affinity:
    """The choice of one port of a front process; not thread-safe."""

    def __init__(self, load_balancer: LoadBalancer, world: World) -> None:
        self._load_balancer = load_balancer
        self._world = world
        self._name: str | None = None
        self._until = 0.0
        self._unanswered = 0

    def choose(self, submissions: int) -> str | None:
        """The scheduler for so many submissions; None when there is none. Each is to be followed by `note_left`."""
        now = self._world.monotonic()
        is_under_load = self._unanswered > 0 and now < self._until
        if self._name is None or not is_under_load or self._load_balancer.should_avoid(self._name):
            self._name, self._until = self._load_balancer.next_scheduler(), now + AFFINITY_S
        self._unanswered += submissions
        return self._name

    def note_left(self) -> None:
        """A submission has its reply, or will be sent another way."""
        self._unanswered -= 1
