"""The dashboard as the gateway serves it: its page and its assets, from memory, with the headers that keep foreign code out.

    GET /           dashboard/index.html, for whoever accepts HTML
    GET /ui/<name>  dashboard/<name>: scripts, style sheets, pictures

They hold no data, so no token is asked for: the page has a sign-in form, and sends the token with each of its requests for data.
What the page does with them is in `dashboard/app.js`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from flask import Response, request

from jobyard.api.http.query import read_query
from jobyard.engine.errors import NotFound, Rejected

PAGE = "index.html"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache",
}  # fmt: skip
"""`no-cache`: kept, but asked for anew each time, which costs a 304; so a new version is never mixed with an old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file of the dashboard."""

    body: bytes
    media_type: str
    etag: str


class Pages:
    """The views."""

    def __init__(self) -> None:
        self._assets = read_assets()

    def index(self) -> Response:
        """The page; a program that wants JSON is told where that is."""
        read_query(request, ())
        accepted = request.accept_mimetypes
        if accepted and not accepted.accept_html:
            raise Rejected("not_acceptable", "this is the dashboard, in HTML; /openapi.json describes what programs can ask for")
        return self._asset(PAGE)

    def asset(self, name: str) -> Response:
        """One of its files."""
        read_query(request, ())
        return self._asset(name)

    def _asset(self, name: str) -> Response:
        asset = self._assets.get(name)
        if asset is None:
            raise NotFound("not_found", f"there is nothing at {request.path[:200]}")
        response = Response(asset.body, 200, HEADERS, content_type=asset.media_type)
        response.set_etag(asset.etag)
        if name == PAGE:
            response.vary.add("Accept")
        response.make_conditional(request)
        return response


def read_assets() -> Mapping[str, Asset]:
    """Every file of the dashboard by its name; what has no media type here is not served."""
    assets = {}
    for file in files("jobyard.api").joinpath("dashboard").iterdir():
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type is not None:
            body = file.read_bytes()
            assets[file.name] = Asset(body=body, media_type=media_type, etag=hashlib.sha256(body).hexdigest()[:20])
    return assets
