"""Serves the dashboard: its page and assets, from memory, with security headers that exclude foreign code.

    GET /           dashboard/index.html, for clients that accept HTML
    GET /ui/<name>  dashboard/<name>: scripts, style sheets, images

They contain no data, so no token is required: the page has a sign-in form, and sends the token with each of its requests for data.
The page's program is `dashboard/app.js`.
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
"""`no-cache`: cached but revalidated each time, at the cost of a 304, so that assets of two versions are never mixed."""


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
        """The page; a client that accepts only JSON gets an error that names the API description."""
        read_query(request, ())
        accepted = request.accept_mimetypes
        if accepted and not accepted.accept_html:
            raise Rejected("not_acceptable", "this is the dashboard, in HTML; /openapi.json describes the API for programs")
        return self._asset(PAGE)

    def asset(self, name: str) -> Response:
        """One of the dashboard's files."""
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
    """The files of the dashboard by name; files of other types than in `MEDIA_TYPES` are not served."""
    assets = {}
    for file in files("jobyard.api").joinpath("dashboard").iterdir():
        media_type = MEDIA_TYPES.get("." + file.name.rpartition(".")[2])
        if media_type is not None:
            body = file.read_bytes()
            assets[file.name] = Asset(body=body, media_type=media_type, etag=hashlib.sha256(body).hexdigest()[:20])
    return assets
