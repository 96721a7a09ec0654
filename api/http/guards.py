"""The guards: `Host` must be ours (DNS rebinding), `Origin` too if sent (cross-site posts), and the token good if one is set.

Every request passes them in this order before anything else is checked, unknown paths included. `/health` is for probes, which
send a pod's address or no `Host` at all, so it needs neither a `Host` of ours nor the token. The dashboard's page and files hold
no data and must load before a user can sign in, so they need no token.

An IP address as `Host` is accepted where there is a token: no name stands behind it, so no DNS server can have led a browser to it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from jobyard.engine.config import ANY_HOST, Settings
from jobyard.engine.errors import Rejected
from jobyard.engine.tokens import READ, Token, find_token, may_ask

HEALTH = "/health"
OPEN_PATHS = frozenset({HEALTH, "/"})
OPEN_FOLDER = "/ui/"
DEFAULT_PORTS = {"http": "80", "https": "443"}


CLIENT = "jobyard.client"
"""The key in a request's WSGI environment for the name of its token."""
NO_TOKEN = "api"
"""The name of clients where no token is needed."""


def client_of(environ: Mapping[str, object]) -> str:
    """The name of the token that a request came with, for the log."""
    return str(environ.get(CLIENT, NO_TOKEN))


class Guards:
    """The guards for one set of settings."""

    def __init__(self, settings: Settings) -> None:
        ours = {settings.host, f"[{settings.host}]"} if ":" in settings.host else {settings.host}
        self._hosts = frozenset(host.lower() for host in ours | set(settings.allowed_hosts))
        self._named = frozenset(host.lower() for host in settings.allowed_hosts if not is_loopback(host.lower()))
        self._domains = tuple(host for host in self._hosts if host.startswith("."))
        self._tokens = settings.tokens

    def check(self, environ: MutableMapping[str, Any]) -> None:
        """Raises `Rejected` from the first guard that the request does not pass. Notes the client's name, see `client_of`."""
        path, host = str(environ.get("PATH_INFO", "")), str(environ.get("HTTP_HOST", ""))
        if path != HEALTH:
            self._check_host(host)
        target = str(environ.get("RAW_URI", "/"))
        if not target.startswith("/"):  # an absolute URL, whose host takes precedence over the header
            host = urlsplit(target).netloc
            if path != HEALTH:
                self._check_host(host)
        self._check_origin(environ.get("HTTP_ORIGIN"), host)
        if self._tokens and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            token = self._check_token(str(environ.get("HTTP_AUTHORIZATION", "")))
            _check_rights(token, str(environ.get("REQUEST_METHOD", "GET")), path)
            environ[CLIENT] = token.name

    def _check_host(self, host: str) -> None:
        if not self._is_ours(split_port(host)[0]):
            shown = host[:100]
            raise Rejected("misdirected_host", f"the host {shown!r} is not served here; ALLOWED_HOSTS lists the hosts that are")

    def _is_ours(self, name: str) -> bool:
        if name in self._hosts or ANY_HOST in self._hosts or (self._tokens and is_address(name)):
            return True
        return any(name.endswith(domain) or name == domain[1:] for domain in self._domains)

    def _check_origin(self, origin: object, host: str) -> None:
        if origin is not None and not self._is_our_origin(str(origin), host):
            raise Rejected("origin_not_allowed", f"requests from the origin {str(origin)[:100]!r} are not allowed")

    def _is_our_origin(self, origin: str, host: str) -> bool:
        """The page comes from where the request goes, or from a host of ALLOWED_HOSTS by the scheme's own port.

        The second is for a proxy that does not pass on `Host`. It is not for localhost, where others listen too.
        """
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in DEFAULT_PORTS:
            return False
        default = DEFAULT_PORTS[parts.scheme]
        name, port = split_port(parts.netloc)
        asked_name, asked_port = split_port(host)
        is_same_name = name == asked_name or (is_loopback(name) and is_loopback(asked_name))
        if self._is_ours(name) and is_same_name and (port or default) == (asked_port or default):
            return True
        return name in self._named and (port or default) == default

    def _check_token(self, authorization: str) -> Token:
        scheme, _, given = authorization.partition(" ")
        token = find_token(self._tokens, given.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise Rejected("unauthorized", "the header Authorization: Bearer is needed, with the token that API_TOKEN is set to")
        return token


def _check_rights(token: Token, method: str, path: str) -> None:
    if not may_ask(token, method, path):
        good_for = "GET requests" if token.setting == READ else "leases and what becomes of them"
        raise Rejected("forbidden", f"the token {token.name!r} is of {token.setting}, which is good for {good_for} only")


def split_port(host: str) -> tuple[str, str]:
    """`[::1]:8080` and `localhost:8080` as name, in lower case, and port, which may be empty."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?", host.lower())
    return (found[1], found[2] or "") if found else (host.lower(), "")


def is_address(name: str) -> bool:
    """Whether a name as in `Host` is an IP address; one of version 6 stands in brackets there."""
    try:
        address = ipaddress.ip_address(name[1:-1] if name.startswith("[") else name)
    except ValueError:
        return False
    return name.startswith("[") == (address.version == 6)


def is_loopback(name: str) -> bool:
    """Whether a name as in `Host` means this machine to whoever asks."""
    if is_address(name):
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    return name == "localhost" or name.endswith(".localhost")
