"""The parts of talking to the service by httpx that both clients share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from jobyard.engine.client.steps import NoAnswer, Request, Response

DEFAULT_URL = "http://127.0.0.1:8080"
KEEP_ALIVE_S = 30.0
"""Shorter than the server's own, so that the server seldom closes an idle connection that the client is about to use."""
CONNECT_S = 5.0
CONNECTIONS = 100
NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The service's URL, token and timeout; raises `ValueError` for invalid ones."""

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
        """Options for httpx's client: connections are kept alive; a proxy of the environment is not used for this machine."""
        is_here = httpx.URL(self.url).host in ("localhost", "127.0.0.1", "::1")
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S)
        is_secret = httpx.URL(self.url).scheme == "https"  # loading certificates without need takes longer than a request
        return {"limits": limits, "trust_env": not is_here, "verify": is_secret, "follow_redirects": False}

    def arguments(self, request: Request) -> dict[str, Any]:
        """Arguments for httpx's `request`."""
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
        """The value for this failure."""
        message = f"no answer from {self.url}: {str(wrong) or 'in time'} ({type(wrong).__name__})"
        return NoAnswer(was_sent=not isinstance(wrong, NOT_SENT_ERRORS), message=message)


def response_of(got: httpx.Response) -> Response:
    """The httpx response as a value."""
    return Response(status=got.status_code, headers={name.lower(): text for name, text in got.headers.items()}, body=got.content)
