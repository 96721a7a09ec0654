"""Request bodies: their type and their size, nothing of their meaning. They go on to a scheduler as they came."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gunicorn.http.errors import ParseException
from werkzeug.http import parse_options_header
from werkzeug.wsgi import get_content_length, get_input_stream

from jobyard.engine.errors import InvalidRequest, Rejected, TooLarge

Environ = dict[str, Any]
"""A request as WSGI has it."""
JSON = "application/json"
NDJSON = "application/x-ndjson"
MAX_BODY_BYTES = 16 << 20


def media_type(environ: Environ, allowed: Collection[str]) -> str:
    """The body's media type; raises `Rejected` unless it is one of these, in UTF-8 and as it is."""
    _check_codings(environ)
    told = str(environ.get("CONTENT_TYPE", ""))
    given, parameters = parse_options_header(told)
    given = given.lower()
    charset = parameters.get("charset", "utf-8").lower()
    if given not in allowed or charset not in ("utf-8", "utf8", "us-ascii"):
        shown = told[:100]
        wanted = " or ".join(sorted(allowed))
        raise Rejected("unsupported_media_type", f"Content-Type must be {wanted}, not {shown!r}")
    return given


def read_body(environ: Environ) -> bytes:
    """The whole body; raises `TooLarge` past the limit, without reading on, and `InvalidRequest` when there is none."""
    length = get_content_length(environ)
    if length is not None and length > MAX_BODY_BYTES:
        raise _too_large()
    try:
        body = get_input_stream(environ).read(MAX_BODY_BYTES + 1)
    except (BlockingIOError, TimeoutError):
        raise Rejected("request_timeout", "the body did not come in time") from None
    except (OSError, ParseException) as broken:  # a damaged chunk, or a client that is gone
        raise InvalidRequest("invalid_request", f"the body cannot be read: {broken}") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    if length is not None and len(body) < length:
        raise InvalidRequest("invalid_request", f"the body ended after {len(body)} of {length} bytes")
    if not body:
        raise InvalidRequest("invalid_json", "there is no body; a JSON object is expected")
    return body


def _check_codings(environ: Environ) -> None:
    """What is packed would be stored, or refused, as something that it is not."""
    packed = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if packed.lower() not in ("", "identity"):
        raise Rejected("unsupported_media_type", f"Content-Encoding {packed[:100]!r} is not read; send the body as it is")
    transfer = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if transfer.lower() != "chunked":
        raise Rejected("not_implemented", f"Transfer-Encoding {transfer[:100]!r} is not read; send the body as it is, or chunked")


def _too_large() -> TooLarge:
    return TooLarge("body_too_large", f"the body is longer than {MAX_BODY_BYTES} bytes; send several requests")
