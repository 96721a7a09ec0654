"""The way to the service by httpx, as far as it is the same with and without an event loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from jobyard.engine.client.steps import NoAnswer, Request, Response

DEFAULT_URL = "http://127.0.0.1:8080"
KEEP_IDLE_S = 30.0
"""Less than the server does, so that it is seldom the one that closes an idle connection."""
CONNECT_S = 5.0
CONNECTIONS = 100
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the service is and how it is spoken to; raises `ValueError` for what cannot be right."""

    url: str
    token: str | None = field(repr=False)
    timeout_s: float

    def __post_init__(self) -> None:
        try:
            parts = httpx.URL(self.url)
        except (httpx.InvalidURL, TypeError) as wrong:
            raise ValueError(f"url {self.url!r} cannot be read: {wrong}") from None
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise ValueError(f"url must be like {DEFAULT_URL} or https://jobs.example.org, not {self.url!r}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token.strip()):
            raise ValueError("token must be printable ASCII; the one given is empty or holds other characters")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, not {self.timeout_s!r}")

    def options(self) -> dict[str, Any]:
        """For httpx's own client: connections are kept; a proxy of the environment's is not asked for what is on this machine."""
        is_here = httpx.URL(self.url).host in ("localhost", "127.0.0.1", "::1")
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_IDLE_S)
        is_secret = httpx.URL(self.url).scheme == "https"  # to load certificates for nothing takes longer than a request
        return {"limits": limits, "trust_env": not is_here, "verify": is_secret, "follow_redirects": False}

    def arguments(self, request: Request) -> dict[str, Any]:
        """For httpx's `request`."""
        headers = {"Accept": "application/json", "User-Agent": "jobyard-client"}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        timeout_s = min(self.timeout_s, request.timeout_s or self.timeout_s) + request.wait_s
        return {
            "method": request.method, "url": self.url.rstrip("/") + request.path, "content": request.body, "headers": headers,
            "timeout": httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
        }  # fmt: skip

    def no_answer(self, wrong: httpx.RequestError) -> NoAnswer:
        """What this failure was."""
        words = f"no answer from {self.url}: {str(wrong) or 'in time'} ({type(wrong).__name__})"
        return NoAnswer(was_sent=not isinstance(wrong, NEVER_SENT), words=words)


def response_of(got: httpx.Response) -> Response:
    """The answer as a value."""
    return Response(status=got.status_code, headers={name.lower(): text for name, text in got.headers.items()}, body=got.content)
