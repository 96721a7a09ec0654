"""The `http` task's request: to public addresses only, unless the operator allows others.

The name is resolved once, every address must be allowed, and the connection goes to an address that was checked, so that a name
which resolves differently a moment later gains nothing. Redirects are not followed. Metadata services are never reached.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import socket
import ssl
from typing import Any
from urllib.parse import SplitResult, urlsplit

from jobyard.engine.tasks.context import Unrecoverable
from jobyard.engine.world import World

MAX_READ_BYTES = 1 << 20
READ_BYTES = 1 << 16
MAX_BODY_CHARS = 64 << 10
DEFAULT_TIMEOUT_S = 30.0
METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200")))
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
FIELDS = frozenset({"url", "method", "headers", "body", "timeout_s"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def send_request(payload: Any, *, allow_private: bool) -> dict[str, Any]:
    """`{"url", "method", "headers", "body", "timeout_s"}` → `{"status", "headers", "body"}`; raises unless the status is 2xx."""
    url, method, headers, body, timeout_s = _read(payload)
    give_up_at = World().monotonic() + timeout_s
    connection = _connect(url, _resolve(url, allow_private=allow_private), timeout_s)
    try:
        _send(connection, method, url, body, headers)
        answer, text = _receive(connection, give_up_at)
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {url.hostname} answered {answer.status} {answer.reason}: {text[:500]}")
    return {"status": answer.status, "headers": dict(answer.getheaders()), "body": text}


def _read(payload: Any) -> tuple[SplitResult, str, dict[str, str], bytes | None, float]:
    if not isinstance(payload, dict) or not isinstance(payload.get("url"), str) or set(payload) - FIELDS:
        raise Unrecoverable('the payload of http must be {"url": "https://…"} and maybe "method", "headers", "body", "timeout_s"')
    url = _split(payload["url"])
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unrecoverable(f"url must begin with http:// or https:// and name a host, not {payload['url'][:200]!r}")
    if "@" in url.netloc:
        raise Unrecoverable("url must not hold a name or password; say them in a header")
    method = str(payload.get("method", "POST" if "body" in payload else "GET")).upper()
    headers = payload.get("headers", {})
    timeout_s = payload.get("timeout_s", DEFAULT_TIMEOUT_S)
    if method not in METHODS:
        raise Unrecoverable(f"method must be one of {', '.join(sorted(METHODS))}")
    if not isinstance(headers, dict) or not all(HEADER.fullmatch(name) and isinstance(text, str) for name, text in headers.items()):
        raise Unrecoverable("headers must be an object of names and strings")
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
        raise Unrecoverable(f"url cannot be read: {wrong}") from None


def _body(body: Any) -> tuple[bytes | None, str | None]:
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"


def _resolve(url: SplitResult, *, allow_private: bool) -> list[tuple[str, int]]:
    """Every address of the host, in the order in which the system would try them; raises unless all are allowed."""
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except (ValueError, UnicodeError) as wrong:
        raise Unrecoverable(f"url has no usable host and port: {wrong}") from None
    addresses = [_plain(ipaddress.ip_address(str(item[4][0]).partition("%")[0])) for item in found]
    for address in addresses:
        if address in METADATA or not (allow_private or _is_public(address)):
            raise Unrecoverable(f"{url.hostname} is at {address}, no public address (HTTP_ALLOW_PRIVATE=1 allows private ones)")
    return [(str(address), port) for address in dict.fromkeys(addresses)]


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one may stand for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64 or address in IPV4_COMPATIBLE and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _connect(url: SplitResult, places: list[tuple[str, int]], timeout_s: float) -> http.client.HTTPConnection:
    """To the first of the checked addresses that answers; by the name only where a certificate is to be compared with it."""
    connection = http.client.HTTPConnection(url.hostname or "", places[0][1], timeout=timeout_s)
    for place in places:
        try:
            connection.sock = socket.create_connection(place, timeout_s / len(places))
            break
        except OSError:
            if place == places[-1]:
                raise
    connection.sock.settimeout(timeout_s)
    if url.scheme == "https":
        connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=url.hostname)
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


def _receive(connection: http.client.HTTPConnection, give_up_at: float) -> tuple[http.client.HTTPResponse, str]:
    """The answer up to a bound, and until the time is up, however slowly it drips."""
    sock = connection.sock
    answer = connection.getresponse()
    body = b""
    while len(body) < MAX_READ_BYTES and not answer.isclosed():
        left_s = give_up_at - World().monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer took too long")
        sock.settimeout(left_s)
        data = answer.read1(READ_BYTES)
        if not data:
            break
        body += data
    return answer, body[:MAX_READ_BYTES].decode("utf-8", "replace")[:MAX_BODY_CHARS]
