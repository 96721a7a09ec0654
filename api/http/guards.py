"""The guards: `Host` must be ours (DNS rebinding), `Origin` too if sent (cross-site posts), and the token right if one is set.

Every request passes them in this order before anything else is checked, unknown paths included. `/health` needs no token, and
neither do the dashboard's page and files, which hold no data and must load before a user can sign in.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from jobyard.engine.config import Settings
from jobyard.engine.errors import Rejected

OPEN_PATHS = frozenset({"/health", "/"})
OPEN_FOLDER = "/ui/"


class Guards:
    """The guards for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        ours = {settings.host, f"[{settings.host}]"} if ":" in settings.host else {settings.host}
        self._hosts = frozenset(host.lower() for host in ours | set(settings.allowed_hosts))
        self._token = settings.api_token.encode() if settings.api_token else None

    def check(self, environ: Mapping[str, object]) -> None:
        """Raises `Rejected` from the first guard that the request does not pass."""
        self._check_host(str(environ.get("HTTP_HOST", "")))
        target = str(environ.get("RAW_URI", "/"))
        if not target.startswith("/"):  # an absolute URL, whose host takes precedence over the header
            self._check_host(urlsplit(target).netloc)
        self._check_origin(environ.get("HTTP_ORIGIN"))
        path = str(environ.get("PATH_INFO", ""))
        if self._token is not None and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            self._check_token(str(environ.get("HTTP_AUTHORIZATION", "")), self._token)

    def _check_host(self, host: str) -> None:
        if _without_port(host) not in self._hosts:
            shown = host[:100]
            raise Rejected("misdirected_host", f"the host {shown!r} is not served here; ALLOWED_HOSTS lists the hosts that are")

    def _check_origin(self, origin: object) -> None:
        if origin is None:
            return
        try:
            parts = urlsplit(str(origin))
            is_ours = parts.scheme in ("http", "https") and _without_port(parts.netloc) in self._hosts
        except ValueError:
            is_ours = False
        if not is_ours:
            raise Rejected("origin_not_allowed", f"requests from the origin {str(origin)[:100]!r} are not allowed")

    def _check_token(self, authorization: str, token: bytes) -> None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("utf-8", "replace"), token):
            raise Rejected("unauthorized", "the header Authorization: Bearer is needed, with the token that API_TOKEN is set to")


def _without_port(host: str) -> str:
    """`[::1]:8080` and `localhost:8080` without the port, in lower case."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:[0-9]*)?", host.lower())
    return found[1] if found else host.lower()
