"""How long requests took, by route and class of status: counted in the one HTTP worker, for `api.metrics`.

A route is a row of `api.routes`, or `other` for what no row serves and `none` for what is refused before any app sees it; so there
are no more of them than the program has. A worker that is replaced begins at 0 again, as every counter of a process does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from engine.measures import Spread

ROUTE = "jobyard.route"
"""Where the app writes into the environment of a request which row serves it."""
OTHER = "other"
NONE = "none"


class Traffic:
    """Of one process; its threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spreads: dict[tuple[str, int], Spread] = {}

    def note(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            spread = self._spreads.get((route, status // 100))
            if spread is None:
                spread = self._spreads.setdefault((route, status // 100), Spread())
            spread.note(seconds)

    def read(self) -> Mapping[tuple[str, str], Spread]:
        """By route and class, such as `2xx`; as it stands."""
        with self._lock:
            return {
                (route, f"{first_digit}xx"): Spread(counts=[*spread.counts], sum_s=spread.sum_s)
                for (route, first_digit), spread in sorted(self._spreads.items())
            }
