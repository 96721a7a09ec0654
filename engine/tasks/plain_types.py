"""Annotations that JSON itself can express: checked without msgspec, in the same way and in the same words.

These are `None`, `bool`, `int`, `float`, `str`, `Any`, `object`, `list[…]`, `dict[str, …]`, `Literal[…]` of texts, integers,
booleans and None, and unions of all these. An integer is accepted for a `float`; nothing else is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

Convert = Callable[[object], object]
SCALARS: Mapping[object, tuple[str, type]] = {
    NoneType: ("null", NoneType), bool: ("boolean", bool), int: ("integer", int), float: ("number", float), str: ("string", str),
}  # fmt: skip
CONTAINERS = (list, dict)


class WrongValue(TypeError):
    """The value does not fit its annotation. `path`: where in the value, as in `[2].price`."""

    def __init__(self, words: str, path: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.path = path


def is_plain(hint: object) -> bool:
    """Whether this module knows the annotation."""
    if not isinstance(hint, Hashable):
        return False
    if hint in (Any, object, None) or hint in SCALARS or hint in CONTAINERS:
        return True
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return all(isinstance(value, str | int | None) and type(value) in SCALARS for value in args)
    if origin is dict:
        return args[0] is str and is_plain(args[1])
    return (origin is list or origin in (Union, UnionType)) and all(map(is_plain, args))


def convert(value: object, hint: object) -> object:
    """The value that the task gets; raises `WrongValue`."""
    if hint in (Any, object):
        return value
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return _convert_to_one(value, hint, args)
    if origin is Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in args):
            return value
        raise WrongValue(f"expected {words_of(hint)}, got {value!r:.60}")
    if origin is list and isinstance(value, list):
        return [_convert_inside(f"[{index}]", item, *(args or (Any,))) for index, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {name: _convert_inside(f".{name}", item, (args or (str, Any))[1]) for name, item in value.items()}
    if origin is float and type(value) is int:
        return float(value)
    if type(value) is (NoneType if origin is None else origin):
        return value
    raise WrongValue(f"expected {words_of(hint)}, got {_kind_of(value)}")


def schema(hint: object) -> dict[str, Any]:
    """As JSON Schema."""
    hint = NoneType if hint is None else hint
    if hint in (Any, object):
        return {}
    if hint in SCALARS:
        return {"type": SCALARS[hint][0]}
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin is list:
        return {"type": "array"} | ({"items": schema(args[0])} if args else {})
    if origin is dict:
        return {"type": "object"} | ({"additionalProperties": schema(args[1])} if args else {})
    return {"anyOf": [schema(kind) for kind in args]}


def words_of(hint: object) -> str:
    """The annotation as people write it."""
    if hint is None or hint is NoneType:
        return "None"
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(words_of(kind) for kind in get_args(hint))
    return str(hint).replace("typing.", "") if get_args(hint) else getattr(hint, "__name__", str(hint))


def _convert_inside(path: str, value: object, hint: object) -> object:
    try:
        return convert(value, hint)
    except WrongValue as wrong:
        raise WrongValue(wrong.words, path + wrong.path) from None


def _convert_to_one(value: object, hint: object, kinds: tuple[object, ...]) -> object:
    """Exactly the kind that the value has, if it is among them; so an integer stays one for `int | float`."""
    exact = [kind for kind in kinds if type(value) is (NoneType if kind is None else get_origin(kind) or kind)]
    inside: WrongValue | None = None
    for kind in (*exact, *kinds):
        try:
            return convert(value, kind)
        except WrongValue as wrong:
            inside = inside or (wrong if wrong.path else None)
    raise inside or WrongValue(f"expected {words_of(hint)}, got {_kind_of(value)}")


def _kind_of(value: object) -> str:
    return "null" if value is None else type(value).__name__
