"""Turns every exception that a request raises into one of the documented error replies."""

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
    """The error handlers of one process."""

    def __init__(self, world: World, log: Log) -> None:
        self._world = world
        self._log = log

    def reply_to(self, error: Exception, environ: Environ) -> Reply:
        """The reply for this error. If the outcome is unknown, the connection is closed, so that no reply reaches the client."""
        if not isinstance(error, JobyardError):
            return self._reply_to_bug(error, environ)
        if isinstance(error, OutcomeUnknown):
            _disconnect(environ)
        return error_reply(error, {"WWW-Authenticate": "Bearer"} if error.code == "unauthorized" else None)

    def _reply_to_bug(self, bug: Exception, environ: Environ) -> Reply:
        error_id = self._world.token()
        with contextlib.suppress(Exception):
            self._log.error(
                "request_failed", error_id=error_id, request_id=request_id_of(environ), path=environ.get("PATH_INFO"),
                error=repr(bug),
            )  # fmt: skip
        return json_reply(error_body("internal_error", f"an internal error occurred; the log has it as error_id {error_id}"), 500)


def _disconnect(environ: Environ) -> None:
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
