"""Values as JSON text: what JSON has, and what it lacks by fixed rules. Payloads and results obey the same bounds.

| value | becomes |
| --- | --- |
| `datetime`, `date`, `time` | ISO 8601 text, as `isoformat()` writes it; `+00:00` is written `Z` |
| `UUID`, `Decimal`, `Path` | its text |
| `Enum` | its value |
| dataclass | an object of its fields |
| msgspec `Struct` | the same, with its tag and encoded names; an array if it is `array_like` |
| `tuple` | an array |

Everything else has no JSON form. Standard library only: results are encoded where users' code lives.
"""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import date, time
from enum import Enum
from pathlib import PurePath
from typing import Any

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.strict_json import INT64, MAX_DEPTH

KEYS = str | int | float | None
"""What `json` writes as the name of a field; `bool` is an `int`."""
AS_TEXT = frozenset({("uuid", "UUID"), ("decimal", "Decimal")})
"""Known by module and name, because most tasks load neither module."""
MAX_PATH_CHARS = 100
WRONG = (TypeError, ValueError, RecursionError, AttributeError, InvalidRequest)


class NotJson(TypeError):
    """The value cannot be stored as JSON. The text names the place in the value, and what is wrong there."""


def to_json_text(value: object, *, root: str = "payload", max_depth: int = MAX_DEPTH) -> bytes:
    """The text; raises `NotJson`. `root` is what the value itself is called in the error."""
    try:
        text = _encode(value).encode()
        if strict_json.depth(text, enough=max_depth) > max_depth:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if strict_json.may_be_too_large(text) or _may_repeat_a_name(value, text):
            strict_json.decode(text)
    except WRONG as wrong:
        raise NotJson(_fault_in(value, root, ()) or f"{root}: {wrong}") from None
    return text


def _may_repeat_a_name(value: object, text: bytes) -> bool:
    """Whether two names of an object may be written alike, such as `1` and `"1"`. A look rules it out for a small object."""
    objects = text.count(b"{")
    return objects > 1 or (objects == 1 and not (type(value) is dict and all(type(name) is str for name in value)))


def _plain(value: object) -> object:
    """The next simpler form of what `json` does not know; raises `TypeError` where there is none."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if any((kind.__module__, kind.__qualname__) in AS_TEXT for kind in type(value).__mro__):
        return str(value)
    if hasattr(type(value), "__struct_fields__"):
        return _fields_of_struct(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def _fields_of_struct(value: Any) -> object:
    """As msgspec encodes it, without loading msgspec here."""
    config = value.__struct_config__
    names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    fields = {name: field for name, attribute in names if type(field := getattr(value, attribute)).__name__ != "UnsetType"}
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    return [*tag.values(), *fields.values()] if config.array_like else tag | fields


def _fault_in(value: object, path: str, above: tuple[int, ...]) -> str | None:
    """The first place that cannot be stored, and why; `above`: the identities of what contains the value."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str | int | float):
        wrong = _fault_of_scalar(value)
        return wrong and f"{path}: {wrong}"
    if id(value) in above:
        return f"{path}: the value contains itself"
    inside = (*above, id(value))
    if isinstance(value, dict):
        return _fault_in_object(value, path, inside)
    if isinstance(value, list | tuple):
        if len(above) >= MAX_DEPTH:
            return f"{_short(path)}: nested more than {MAX_DEPTH} levels deep"
        faults = (_fault_in(item, f"{path}[{index}]", inside) for index, item in enumerate(value))
        return next(filter(None, faults), None)
    try:
        return _fault_in(_plain(value), path, above)
    except WRONG as wrong:
        return f"{path}: {wrong}"


def _fault_in_object(value: dict[object, object], path: str, inside: tuple[int, ...]) -> str | None:
    if len(inside) > MAX_DEPTH:
        return f"{_short(path)}: nested more than {MAX_DEPTH} levels deep"
    names: set[str] = set()
    for key, item in value.items():
        if not isinstance(key, KEYS):
            return f"{path}: {type(key).__name__} cannot be the name of a field; names are text"
        name = key if isinstance(key, str) else json.dumps(key)
        if name in names:
            return f"{path}: the name {name!r} occurs twice"
        names.add(name)
        wrong = _fault_of_scalar(key) if isinstance(key, str | float) else None
        if wrong is not None:
            return f"{path}: a name: {wrong}"
        fault = _fault_in(item, f"{path}.{name}" if name.isidentifier() else f"{path}[{json.dumps(name)}]", inside)
        if fault is not None:
            return fault
    return None


def _fault_of_scalar(value: str | int | float) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value} is not a JSON number"
    if isinstance(value, int):
        return None if int(value) in INT64 else "the integer does not fit in 64 bits"
    return "the text contains half of a surrogate pair" if any("\ud800" <= char <= "\udfff" for char in value) else None


def _short(path: str) -> str:
    return path if len(path) <= MAX_PATH_CHARS else path[:MAX_PATH_CHARS] + "…"
