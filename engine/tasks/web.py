"""The `http` task: one request to an address that `web_addresses` allows; `timeout_s` limits all of it.

Redirects are not followed.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import ssl
from typing import Any
from urllib.parse import SplitResult, urlsplit

from jobyard.engine.tasks.context import Unrecoverable
from jobyard.engine.tasks.web_addresses import resolve
from jobyard.engine.world import World

MAX_READ_BYTES = 1 << 20
READ_BYTES = 1 << 16
MAX_BODY_CHARS = 64 << 10
DEFAULT_TIMEOUT_S = 30.0
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELDS = frozenset({"url", "method", "headers", "body", "timeout_s"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def send_request(payload: Any, *, allow_private: bool) -> dict[str, Any]:
    """`{"url", "method", "headers", "body", "timeout_s"}` → `{"status", "headers", "body"}`; raises unless the status is 2xx."""
    url, method, headers, body, timeout_s = _request_in(payload)
    answer, text = _exchange(url, method, headers, body, timeout_s, allow_private)
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {url.hostname} answered {answer.status} {answer.reason}: {text[:500]}")
    return {"status": answer.status, "headers": dict(answer.getheaders()), "body": text}


def exchange(
    url: str, method: str, headers: dict[str, str], body: bytes, timeout_s: float, *, allow_private: bool
) -> tuple[int, dict[str, str], str]:  # fmt: skip
    """Status, headers and text of the answer to one request; for other tasks."""
    answer, text = _exchange(_split(url), method, headers, body, timeout_s, allow_private)
    return answer.status, dict(answer.getheaders()), text


def _exchange(
    url: SplitResult, method: str, headers: dict[str, str], body: bytes | None, timeout_s: float, allow_private: bool
) -> tuple[http.client.HTTPResponse, str]:  # fmt: skip
    deadline = World().monotonic() + timeout_s
    addresses = resolve(url.hostname or "", _port(url), allow_private=allow_private)
    connection = _connect(url, addresses, deadline)
    try:
        _send(connection, method, url, body, headers)
        return _receive(connection)
    finally:
        connection.close()


def _request_in(payload: Any) -> tuple[SplitResult, str, dict[str, str], bytes | None, float]:
    if not isinstance(payload, dict) or not isinstance(payload.get("url"), str) or set(payload) - FIELDS:
        raise Unrecoverable(
            'the payload of http must be {"url": "https://…"}, optionally with "method", "headers", "body", "timeout_s"'
        )
    url = _split(payload["url"])
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unrecoverable(f"url must begin with http:// or https:// and name a host, not {payload['url'][:200]!r}")
    if "@" in url.netloc:
        raise Unrecoverable("url must not contain a user name or password; send them in a header")
    method = str(payload.get("method", "POST" if "body" in payload else "GET")).upper()
    headers = payload.get("headers", {})
    timeout_s = payload.get("timeout_s", DEFAULT_TIMEOUT_S)
    if method not in METHODS:
        raise Unrecoverable(f"method must be one of {', '.join(sorted(METHODS))}")
    if not isinstance(headers, dict) or not all(HEADER.fullmatch(name) and isinstance(text, str) for name, text in headers.items()):
        raise Unrecoverable("headers must be an object that maps header names to strings")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= 3600:
        raise Unrecoverable("timeout_s must be a number above 0, at most 3600")
    body, kind = _body(payload.get("body"))
    if kind and "content-type" not in map(str.lower, headers):
        headers = headers | {"Content-Type": kind}
    return url, method, headers, body, float(timeout_s)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as wrong:
        raise Unrecoverable(f"url is invalid: {wrong}") from None


def _body(body: Any) -> tuple[bytes | None, str | None]:
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"


def _port(url: SplitResult) -> int:
    try:
        return url.port or (443 if url.scheme == "https" else 80)
    except ValueError as wrong:
        raise Unrecoverable(f"url has an invalid port: {wrong}") from None


def _connect(url: SplitResult, addresses: list[tuple[str, int]], deadline: float) -> http.client.HTTPConnection:
    """Connect to the first checked address that accepts; the host name is used only to verify the certificate."""
    connection = http.client.HTTPConnection(url.hostname or "", addresses[0][1])
    for number, address in enumerate(addresses):
        try:
            sock = socket.create_connection(address, _left_s(deadline) / (len(addresses) - number))
            break
        except OSError:
            if address == addresses[-1]:
                raise
    sock.settimeout(_left_s(deadline))
    if url.scheme == "https":
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=url.hostname)
    connection.sock = _BoundedSocket(sock, deadline)
    return connection


def _send(
    connection: http.client.HTTPConnection, method: str, url: SplitResult, body: bytes | None, headers: dict[str, str]
) -> None:  # fmt: skip
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = {} if "host" in map(str.lower, headers) else {"Host": url.netloc}
    try:
        connection.request(method, target, body=body, headers=host | headers)
    except (ValueError, http.client.InvalidURL) as wrong:  # control characters and the like
        raise Unrecoverable(f"the request cannot be sent: {wrong}") from None


def _receive(connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, str]:
    """The response, its body truncated to the limit."""
    answer = connection.getresponse()
    body = b""
    while len(body) < MAX_READ_BYTES and not answer.isclosed():
        data = answer.read1(READ_BYTES)
        if not data:
            break
        body += data
    return answer, body[:MAX_READ_BYTES].decode("utf-8", "replace")[:MAX_BODY_CHARS]


def _left_s(deadline: float) -> float:
    left_s = deadline - World().monotonic()
    if left_s <= 0:
        raise TimeoutError("the response took too long")
    return left_s


class _BoundedSocket:
    """The part of the socket interface that `http.client` uses. Each read and write may take the time left until the deadline.

    An ordinary socket timeout restarts with every byte, so a slowly dripping head, or endless `100 Continue`, would never end.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """See `socket`."""
        self._sock.settimeout(_left_s(self._deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader with the same deadline."""
        return io.BufferedReader(_BoundedReader(self._sock, self._deadline))

    def close(self) -> None:
        """See `socket`."""
        self._sock.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open after the connection has closed it
        self._deadline = deadline

    def readable(self) -> bool:
        """See `io`."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See `io`."""
        self._sock.settimeout(_left_s(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """See `io`."""
        self._raw.close()
        super().close()
