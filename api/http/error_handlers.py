"""What is answered when a request cannot be done: whatever was raised, as one of the errors that are documented."""

from __future__ import annotations

import contextlib
import socket

from jobyard.api.http.body import Environ
from jobyard.api.http.reply import Reply, error_body, error_reply, json_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.errors import JobyardError, OutcomeUnknown
from jobyard.engine.logs import Log
from jobyard.engine.world import World


class ErrorHandlers:
    """Of one process."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log

    def tell(self, wrong: Exception, environ: Environ) -> Reply:
        """If nobody knows what came of the request, its connection is ended, and the reply goes nowhere."""
        if not isinstance(wrong, JobyardError):
            return self._tell_bug(wrong, environ)
        if isinstance(wrong, OutcomeUnknown):
            _cut(environ)
        return error_reply(wrong, {"WWW-Authenticate": "Bearer"} if wrong.code == "unauthorized" else None)

    def _tell_bug(self, bug: Exception, environ: Environ) -> Reply:
        error_id = self._world.token()
        with contextlib.suppress(Exception):
            self._log.error(
                "request_failed", error_id=error_id, request_id=request_id_of(environ), path=environ.get("PATH_INFO"),
                error=repr(bug),
            )  # fmt: skip
        return json_reply(error_body("internal_error", f"this is our fault, not yours; the log knows it as {error_id}"), 500)


def _cut(environ: Environ) -> None:
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
