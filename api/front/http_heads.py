"""HTTP heads for the fast path: parses request heads and writes response heads exactly as gunicorn does for all other requests.

A client sends the same head again and again, so parsed heads are cached by their bytes.
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

CACHE_SIZE = 256
MAX_CACHED_BYTES = 1 << 10
NO_ADDRESS = ("", 0)
_date = lru_cache(maxsize=2)(util.http_date)


class Heads:
    """A parser of request heads with gunicorn's settings."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._read_cached = lru_cache(maxsize=CACHE_SIZE)(self._read)

    def read(self, head: bytes) -> Environ | None:
        """The WSGI environment of a head (up to its blank line), not to be changed. None: gunicorn must read or refuse it."""
        return self._read_cached(head) if len(head) <= MAX_CACHED_BYTES else self._read(head)

    def _read(self, head: bytes) -> Environ | None:
        with contextlib.suppress(ParseException, OSError, StopIteration):
            request = Request(self._config, IterUnreader([head]), NO_ADDRESS, 1)
            names = [name for name, _ in request.headers]
            if not request.should_close() and len(set(names)) == len(names):
                _, environ = wsgi.create(request, None, NO_ADDRESS, NO_ADDRESS, self._config)
                return {name: value for name, value in environ.items() if name.isupper() and "REMOTE" not in name}
        return None


def answer_bytes(reply: Reply, *, at_s: int, is_last: bool = False) -> bytes:
    """A complete HTTP response with this Unix time as its date; `is_last`: the connection is closed after it."""
    headers = {**reply.headers, "Content-Type": "application/json", "Content-Length": str(len(reply.body))}
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    status = f"{reply.status} {HTTP_STATUS_CODES[reply.status].upper()}"
    connection = "close" if is_last else "keep-alive"
    head = f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nDate: {_date(at_s)}\r\nConnection: {connection}\r\n{lines}\r\n"
    return head.encode("latin-1") + reply.body
