"""Builds the Flask app of one component: routes from the table, guards in front of them, and one form for every error.

Neither this module nor the views know any rule of the scheduler, and no app, client or store exists before `create_app` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter

from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.reply import CODE_OF, STATUS_OF, Reply, error_body, json_reply
from jobyard.api.http.request_metrics import ROUTE
from jobyard.api.http.routes import ROUTES, routes_of

StartResponse = Callable[..., Any]


def create_app(kind: str, views: Mapping[str, object], *, guards: Guards, error_handlers: ErrorHandlers) -> Flask:
    """The app of a gateway, scheduler, queue, watcher or worker. `views`: by the names that the table uses."""
    app = _App(f"jobyard-{kind}", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = _JobId
    for (method, path), route in routes_of(kind).items():
        owner, _, name = route.view.partition(".")
        view = getattr(views[owner], name)
        rule = path.replace("<schedule>", "<string:schedule>").replace("<limit>", "<path:limit>")
        rule = rule.replace("<task>", "<string:task>").replace("<hook>", "<string:hook>")
        app.add_url_rule(rule, f"{method} {path}", view, methods=[method], provide_automatic_options=False)
    app.before_request(_note_route)
    app.before_request(lambda: guards.check(request.environ))
    app.register_error_handler(HTTPException, lambda error: _response_of(_reply_to_http(error)))
    app.register_error_handler(Exception, lambda error: _response_of(error_handlers.reply_to(error, request.environ)))
    return app


def _note_route() -> None:
    """Record the route for the request metrics."""
    if request.url_rule is not None:
        request.environ[ROUTE] = request.url_rule.endpoint


class _App(Flask):
    """A Flask app whose views may return a `Reply`."""

    def wsgi_app(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """See Flask. No protocol that a client offers to change to is spoken here, and an offer may be ignored (RFC 9110, 7.8)."""
        environ.pop("HTTP_UPGRADE", None)
        return super().wsgi_app(environ, start_response)

    def make_response(self, rv: ResponseReturnValue | Reply) -> Response:
        """See Flask."""
        return _response_of(rv) if isinstance(rv, Reply) else super().make_response(rv)


def _response_of(reply: Reply) -> Response:
    return Response(reply.body, reply.status, reply.headers, mimetype="application/json")


class _JobId(BaseConverter):
    """Any path segment in the place of a job id, except the words that are routes of their own."""

    regex = "(?!(?:batch|cancel|retry|count|delete)$)[^/]+"
    part_isolating = True


def _reply_to_http(error: HTTPException) -> Reply:
    """The reply for what Flask itself refuses: unknown paths, wrong methods, malformed bodies."""
    status = error.code or 500
    code = CODE_OF.get(status, "invalid_request" if status < 500 else "internal_error")
    if code == "method_not_allowed":
        message = f"{request.method} is not allowed on {request.path[:200]}"
    elif code == "not_found":
        message = f"there is nothing at {request.path[:200]}"
    else:
        message = error.description or error.name
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(_methods_of(request.path).intersection(error.valid_methods) or error.valid_methods))
    return json_reply(error_body(code, message), STATUS_OF[code] if status < 500 else 500, headers)


def _methods_of(path: str) -> set[str]:
    """Those of a path that is a row of its own, such as `/api/schedules/preview`, although it looks like a schedule's too."""
    methods = {route.method for route in ROUTES if route.path == path}
    return methods | ({"HEAD"} if "GET" in methods else set())
