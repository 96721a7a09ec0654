"""JSON as RFC 8259 defines it and as both databases can store it; rejects what Python's decoder accepts beyond that.

Rejected: NaN and Infinity, numbers that become infinite, integers beyond 64 bits, duplicate names in an object, lone surrogates,
bytes that are not UTF-8, and nesting deeper than the decoder can follow.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate

from jobyard.engine.errors import InvalidRequest

INT64 = range(-(1 << 63), 1 << 63)
MAX_DEPTH = 100
LONGEST_SHOWN = 60
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MAY_BE_TOO_LARGE = re.compile(rb"[0-9]{19}|[eE]\+?[0-9]{3}")
_UP_OR_DOWN = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode(text: bytes) -> object:
    """Decode the text; raises `InvalidRequest` with the position where it is not JSON."""
    try:
        decoder = _careful_decoder if may_be_too_large(text) else _decoder
        value: object = decoder.decode(text.decode("utf-8"))
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as wrong:
        raise InvalidRequest("invalid_json", f"not JSON: {wrong.msg} at line {wrong.lineno} column {wrong.colno}") from None
    except UnicodeDecodeError as wrong:
        raise InvalidRequest("invalid_json", f"not JSON: byte {wrong.start} is not UTF-8") from None
    except UnicodeEncodeError:
        raise InvalidRequest("invalid_json", "not storable JSON: a string contains half of a surrogate pair") from None
    except RecursionError:
        raise InvalidRequest("invalid_json", "nested too deeply: at most 100 levels") from None
    return value


def may_be_too_large(text: bytes) -> bool:
    """Whether some number in the text may exceed 64 bits or a double."""
    return _MAY_BE_TOO_LARGE.search(text) is not None


def depth(text: bytes, *, enough: int) -> int:
    """The nesting depth of arrays and objects in valid JSON text; counting may stop once it exceeds `enough`."""
    if text.count(b"[") + text.count(b"{") <= enough:
        return 0
    brackets = _STRING.sub(b"", text).translate(_UP_OR_DOWN, _ALL_BUT_BRACKETS)
    levels = accumulate(memoryview(brackets).cast("b"))  # as signed bytes: 1 for every opening bracket, -1 for every closing one
    return min(max(levels, default=0), enough + 1)


def shown(value: object) -> str:
    """The value as error messages show it: as JSON, shortened."""
    try:
        text = json.dumps(value[:LONGEST_SHOWN] if isinstance(value, str) else value)
    except RecursionError:  # the decoder could just follow its nesting, the encoder cannot
        text = "a value nested too deeply"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidRequest("repeated_field", f"{shown(repeated)} occurs twice in one object", repeated[:LONGEST_SHOWN])
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or int(text) not in INT64:
        raise InvalidRequest("invalid_field", f"the integer {text[:40]} does not fit in 64 bits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InvalidRequest("invalid_field", f"the number {text[:40]} is too large for a double")
    return value


def _constant(text: str) -> object:
    raise InvalidRequest("invalid_json", f"not JSON: {text} is not a JSON number")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_careful_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_number)
