"""Reads request bodies and checks their type and size. The content is not parsed here but forwarded to a scheduler as it is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gunicorn.http.errors import ParseException
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_content_length, get_input_stream

from jobyard.engine.errors import InvalidRequest, Rejected, TooLarge

Environ = dict[str, Any]
"""A WSGI environment."""
JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_BODY_BYTES = 16 << 20


def media_type(environ: Environ, allowed: Collection[str]) -> str:
    """The body's media type; raises `Rejected` unless it is an allowed one, in UTF-8 and not compressed."""
    _check_codings(environ)
    header = str(environ.get("CONTENT_TYPE", ""))
    given, parameters = parse_options_header(header)
    given = given.lower()
    charset = parameters.get("charset", "utf-8").lower()
    if given not in allowed or charset not in ("utf-8", "utf8", "us-ascii"):
        shown = header[:100]
        expected = " or ".join(sorted(allowed))
        raise Rejected("unsupported_media_type", f"Content-Type must be {expected}, not {shown!r}")
    return given


def read_body(environ: Environ, *, may_be_empty: bool = False) -> bytes:
    """The whole body. Raises `TooLarge` above the limit, without reading on, and `InvalidRequest` when one is missing."""
    length = get_content_length(environ)
    if length is not None and length > MAX_BODY_BYTES:
        raise _too_large()
    try:
        body = get_input_stream(environ).read(MAX_BODY_BYTES + 1)
    except (BlockingIOError, TimeoutError):
        raise Rejected("request_timeout", "the body was not received in time") from None
    except (OSError, ParseException) as error:  # a malformed chunk, or a client that has disconnected
        raise InvalidRequest("invalid_request", f"the body cannot be read: {error}") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    if length is not None and len(body) < length:
        raise InvalidRequest("invalid_request", f"the body ended after {len(body)} of {length} bytes")
    if not body and not may_be_empty:
        raise InvalidRequest("invalid_json", "the request has no body; a JSON object is expected")
    return body


def read_optional_body(environ: Environ) -> bytes:
    """A JSON body that may be left out; then it needs no type."""
    body = read_body(environ, may_be_empty=True)
    if body:
        media_type(environ, (JSON,))
    return body


def _check_codings(environ: Environ) -> None:
    """A compressed body would be stored, or refused, as if its bytes were the JSON text."""
    coding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if coding.lower() not in ("", "identity"):
        raise Rejected("unsupported_media_type", f"Content-Encoding {coding[:100]!r} is not supported; send the body uncompressed")
    transfer = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if transfer.lower() != "chunked":
        raise Rejected("not_implemented", f"Transfer-Encoding {transfer[:100]!r} is not supported; use chunked or none")


def _too_large() -> TooLarge:
    return TooLarge("body_too_large", f"the body is longer than {MAX_BODY_BYTES} bytes; split it into several requests")


def required_body(environ: Environ) -> bytes:
    """A JSON body."""
    media_type(environ, (JSON,))
    return read_body(environ)
