"""The `http` task's request: to public addresses only, unless the operator allows others.

The name is resolved once, every address must be allowed, and the connection goes to an address that was checked, so that a name
which resolves differently a moment later gains nothing. Redirects are not followed. Metadata services are never reached.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import ssl
from typing import Any
from urllib.parse import SplitResult, urlsplit

from engine.tasks.context import Unrecoverable

MAX_READ_BYTES = 1 << 20
MAX_BODY_CHARS = 64 << 10
DEFAULT_TIMEOUT_S = 30.0
METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200")))
FIELDS = frozenset({"url", "method", "headers", "body", "timeout_s"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def send_request(payload: Any, *, allow_private: bool) -> dict[str, Any]:
    """`{"url", "method", "headers", "body", "timeout_s"}` → `{"status", "headers", "body"}`; raises unless the status is 2xx."""
    url, method, headers, body, timeout_s = _read(payload)
    connection = _connect(url, _resolve(url, allow_private=allow_private), timeout_s)
    try:
        connection.request(method, _target(url), body=body, headers={"Host": url.netloc.rpartition("@")[2], **headers})
        answer = connection.getresponse()
        text = answer.read(MAX_READ_BYTES).decode("utf-8", "replace")[:MAX_BODY_CHARS]
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {url.hostname} answered {answer.status} {answer.reason}: {text[:500]}")
    return {"status": answer.status, "headers": dict(answer.getheaders()), "body": text}


def _read(payload: Any) -> tuple[SplitResult, str, dict[str, str], bytes | None, float]:
    if not isinstance(payload, dict) or not isinstance(payload.get("url"), str) or set(payload) - FIELDS:
        raise Unrecoverable('the payload of http must be {"url": "https://…"} and maybe "method", "headers", "body", "timeout_s"')
    url = urlsplit(payload["url"])
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unrecoverable(f"url must begin with http:// or https:// and name a host, not {payload['url'][:200]!r}")
    method = str(payload.get("method", "POST" if "body" in payload else "GET")).upper()
    headers = payload.get("headers", {})
    timeout_s = payload.get("timeout_s", DEFAULT_TIMEOUT_S)
    if method not in METHODS:
        raise Unrecoverable(f"method must be one of {', '.join(sorted(METHODS))}")
    if not isinstance(headers, dict) or not all(isinstance(text, str) for item in headers.items() for text in item):
        raise Unrecoverable("headers must be an object of strings")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= 3600:
        raise Unrecoverable("timeout_s must be a number above 0, at most 3600")
    body, kind = _body(payload.get("body"))
    if kind and "content-type" not in map(str.lower, headers):
        headers = headers | {"Content-Type": kind}
    return url, method, headers, body, float(timeout_s)


def _body(body: Any) -> tuple[bytes | None, str | None]:
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode(), "text/plain; charset=utf-8"
    return json.dumps(body).encode(), "application/json"


def _resolve(url: SplitResult, *, allow_private: bool) -> tuple[str, int]:
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except (ValueError, UnicodeError) as wrong:
        raise Unrecoverable(f"url has no usable host and port: {wrong}") from None
    addresses = [_plain(ipaddress.ip_address(str(item[4][0]).partition("%")[0])) for item in found]
    for address in addresses:
        if address in METADATA or not (allow_private or (address.is_global and not address.is_multicast)):
            raise Unrecoverable(f"{url.hostname} is at {address}, no public address (HTTP_ALLOW_PRIVATE=1 allows private ones)")
    return str(addresses[0]), port


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one may stand for."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address


def _connect(url: SplitResult, where: tuple[str, int], timeout_s: float) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.hostname or "", where[1], timeout=timeout_s)
    connection.sock = socket.create_connection(where, timeout_s)
    if url.scheme == "https":
        connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=url.hostname)
    return connection


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")
