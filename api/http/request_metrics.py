"""Request ids and request metrics: every request gets an id and is timed, by route and class of status.

The id is the client's `X-Request-ID`, or a new one when that is missing or not a plain word. It is returned with every response
and passed on to the processes that act on the request, so the logs of all processes show what a request caused.

A route is a row of `http.routes`, or `other` when no row matches and `none` when the request is refused before any app sees it, so
the number of label values is bounded. As with every counter of a process, the counts start at 0 when the HTTP worker is replaced.
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
"""The key in a request's WSGI environment under which the app stores the row that serves it."""
RECEIVED_AT = "jobyard.came_at"
REQUEST_ID = "jobyard.request_id"
HEADER = "X-Request-ID"
PLAIN = re.compile(r"[A-Za-z0-9._~:@/+=-]{1,128}", re.ASCII)
OTHER = "other"
NONE = "none"


class RequestMetrics:
    """The request metrics of one process; shared by its threads."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log
        self._prefix = world.token(48)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._histograms: dict[tuple[str, int], Histogram] = {}

    def begin(self, environ: Environ) -> str:
        """Note a request's arrival; returns its id."""
        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if isinstance(given, str) and PLAIN.fullmatch(given) else self._new_id()
        environ[RECEIVED_AT] = self._world.monotonic()
        environ[REQUEST_ID] = request_id
        return request_id

    def end(self, environ: Environ, route: str, status: int) -> None:
        """Note that it was answered."""
        seconds = self._world.monotonic() - environ[RECEIVED_AT]
        self.note(route, status, seconds)
        if self._log.is_debug:
            self._log.debug(
                "request_answered", request_id=environ[REQUEST_ID], method=environ.get("REQUEST_METHOD"),
                path=environ.get("PATH_INFO"), status=status, took_ms=round(1000 * seconds, 3),
            )  # fmt: skip

    def refuse(self, status: int) -> str:
        """Note that something which is not a valid request was refused; returns its id."""
        request_id = self._new_id()
        self.note(NONE, status, 0.0)
        self._log.debug("request_refused", request_id=request_id, status=status)
        return request_id

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request and its duration."""
        with self._lock:
            histogram = self._histograms.get((route, status // 100))
            if histogram is None:
                histogram = self._histograms.setdefault((route, status // 100), Histogram())
            histogram.note(seconds)

    def read(self) -> Mapping[tuple[str, str], Histogram]:
        """A copy of the current histograms by route and status class, such as `2xx`."""
        with self._lock:
            return {
                (route, f"{first_digit}xx"): Histogram(counts=[*histogram.counts], sum_s=histogram.sum_s)
                for (route, first_digit), histogram in sorted(self._histograms.items())
            }

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"


def request_id_of(environ: Environ) -> str:
    """The id that `RequestMetrics.begin` has set; empty when it was not called."""
    return str(environ.get(REQUEST_ID, ""))


def with_id(reply: Reply, request_id: str) -> Reply:
    """The reply with the id of its request."""
    return Reply(reply.body, reply.status, {**reply.headers, HEADER: request_id})
