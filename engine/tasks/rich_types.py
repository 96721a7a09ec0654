"""Annotations beyond plain JSON, converted by msgspec: strictly, except that text becomes what JSON lacks.

`datetime`, `UUID`, `Decimal`, `Enum`, `Path`, dataclasses, Structs, and all else that msgspec knows. Loaded only for tasks that
have such parameters, so that tasks without them need nothing but the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import msgspec
import msgspec.inspect

from jobyard.engine.tasks.plain_types import WrongValue

_TEXT = re.compile(r"(?P<words>.*?)(?: - at `(?P<path>.*)`)?", re.DOTALL)


def converter(hint: Any) -> Callable[[object], object]:
    """What converts a value of a payload; it raises `WrongValue`. Raises `TypeError` for what msgspec cannot convert to."""
    for kind in _custom_types(msgspec.inspect.type_info(hint), set()):
        if not issubclass(kind, PurePath):
            raise TypeError(f"{kind.__name__} is neither a type that JSON has nor one that text can be converted to")

    def convert(value: object) -> object:
        try:
            return msgspec.convert(value, hint, strict=True, str_keys=True, dec_hook=_from_text)
        except msgspec.ValidationError as wrong:
            found = _TEXT.fullmatch(str(wrong))
            assert found is not None
            words = found["words"].replace("`", "")
            raise WrongValue(words[:1].lower() + words[1:], (found["path"] or "").removeprefix("$")) from None

    return convert


def schema(hint: Any) -> dict[str, Any]:
    """As JSON Schema; what it refers to is in its own `$defs`. Anything, where msgspec cannot describe a default value."""
    try:
        [told], parts = msgspec.json.schema_components([hint], schema_hook=_schema_of, ref_template="#/$defs/{name}")
    except TypeError:
        return {}
    return told | ({"$defs": parts} if parts else {})


def _from_text(kind: type, value: object) -> object:
    if isinstance(value, str):
        return kind(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _schema_of(kind: type) -> dict[str, Any]:
    return {"type": "string", "format": "path"}


def _custom_types(node: object, seen: set[int]) -> Iterator[type]:
    """Those that msgspec leaves to its hooks, anywhere in the annotation."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, msgspec.inspect.CustomType):
        yield node.cls
    elif isinstance(node, tuple):
        for item in node:
            yield from _custom_types(item, seen)
    elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
        for name in node.__struct_fields__:
            yield from _custom_types(getattr(node, name), seen)
