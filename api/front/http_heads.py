"""Heads of requests and of answers, for the express: both as gunicorn reads and writes them for everybody else.

A client sends the same head again and again, so what one says is kept for a while, by its bytes.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache

from gunicorn import SERVER, util
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from werkzeug.http import HTTP_STATUS_CODES

from jobyard.api.http.body import Environ
from jobyard.api.http.reply import Reply

KEPT = 256
LONGEST_KEPT = 1 << 10
NOBODY = ("", 0)
_date = lru_cache(maxsize=2)(util.http_date)


class Heads:
    """Read with gunicorn's settings."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._read_and_keep = lru_cache(maxsize=KEPT)(self._read)

    def read(self, head: bytes) -> Environ | None:
        """What WSGI says of a head, up to its blank line; None: it is for the long way to read, or to refuse. Not to be changed."""
        return self._read_and_keep(head) if len(head) <= LONGEST_KEPT else self._read(head)

    def _read(self, head: bytes) -> Environ | None:
        with contextlib.suppress(ParseException, OSError, StopIteration):
            request = Request(self._config, IterUnreader([head]), NOBODY, 1)
            names = [name for name, _ in request.headers]
            if not request.should_close() and len(set(names)) == len(names):
                _, environ = wsgi.create(request, None, NOBODY, NOBODY, self._config)
                return {name: value for name, value in environ.items() if name.isupper() and "REMOTE" not in name}
        return None


def answer_bytes(reply: Reply, *, at_s: int, is_last: bool = False) -> bytes:
    """A whole answer, given in this second since 1970; unless it `is_last` the connection is used again."""
    told = {**reply.headers, "Content-Type": "application/json", "Content-Length": str(len(reply.body))}
    lines = "".join([f"{name}: {value}\r\n" for name, value in told.items()])
    status = f"{reply.status} {HTTP_STATUS_CODES[reply.status].upper()}"
    then = "close" if is_last else "keep-alive"
    head = f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {_date(at_s)}\r\nConnection: {then}\r\n{lines}\r\n"
    return head.encode("latin-1") + reply.body
