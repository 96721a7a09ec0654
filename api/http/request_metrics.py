"""Requests as they come and are answered: each gets an id and is timed, by route and class of status, in the one HTTP worker.

The id is the client's `X-Request-ID`, or one of ours when it sends none or one that is no plain word. It is told back with every
answer and goes with the request to whoever does what it asks for; so the log of all processes tells what a request has caused.

A route is a row of `http.routes`, or `other` for what no row serves and `none` for what is refused before any app sees it; so there
are no more of them than the program has. A worker that is replaced begins at 0 again, as every counter of a process does.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping

from jobyard.api.http.body import Environ
from jobyard.api.http.reply import Reply
from jobyard.engine.logs import Log
from jobyard.engine.metrics import Histogram
from jobyard.engine.world import World

ROUTE = "jobyard.route"
"""Where the app writes into the environment of a request which row serves it."""
CAME_AT = "jobyard.came_at"
REQUEST_ID = "jobyard.request_id"
HEADER = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._~:@/+=-]{1,128}", re.ASCII)
OTHER = "other"
NONE = "none"


class RequestMetrics:
    """Of one process; its threads share it."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log
        self._prefix = world.token(48)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._histograms: dict[tuple[str, int], Histogram] = {}

    def begin(self, environ: Environ) -> str:
        """A request came; its id."""
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if isinstance(given, str) and PLAIN.fullmatch(given) else self._new_id()
        environ[CAME_AT] = self._world.monotonic()
        environ[REQUEST_ID] = request_id
        return request_id

    def end(self, environ: Environ, route: str, status: int) -> None:
        """It was answered."""
        seconds = self._world.monotonic() - environ[CAME_AT]
        self.note(route, status, seconds)
        if self._log.is_debug:
            self._log.debug(
                "request_answered", request_id=environ[REQUEST_ID], method=environ.get("REQUEST_METHOD"),
                path=environ.get("PATH_INFO"), status=status, took_ms=round(1000 * seconds, 3),
            )  # fmt: skip

    def refuse(self, status: int) -> str:
        """Something that is no proper request is told so; its id."""
        request_id = self._new_id()
        self.note(NONE, status, 0.0)
        self._log.debug("request_refused", request_id=request_id, status=status)
        return request_id

    def note(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            histogram = self._histograms.get((route, status // 100))
            if histogram is None:
                histogram = self._histograms.setdefault((route, status // 100), Histogram())
            histogram.note(seconds)

    def read(self) -> Mapping[tuple[str, str], Histogram]:
        """By route and class, such as `2xx`; as it stands."""
        with self._lock:
            return {
                (route, f"{first_digit}xx"): Histogram(counts=[*histogram.counts], sum_s=histogram.sum_s)
                for (route, first_digit), histogram in sorted(self._histograms.items())
            }

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"


def request_id_of(environ: Environ) -> str:
    """As `RequestMetrics.begin` has set it; empty when it was not asked."""
    return str(environ.get(REQUEST_ID, ""))


def with_id(reply: Reply, request_id: str) -> Reply:
    """The reply, telling which request it is for."""
    return Reply(reply.body, reply.status, {**reply.headers, HEADER: request_id})
