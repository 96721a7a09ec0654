"""What a task gets of its payload."""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Optional
from uuid import UUID

import msgspec
import pytest

from jobyard.engine.tasks import plain_types, rich_types
from jobyard.engine.tasks.parameters import FieldParameters, NoParameters, WholePayload, WrongArguments, read_parameters


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Item:
    price: Decimal
    path: Path = Path(".")


class Order(msgspec.Struct):
    items: list[Item]


class Foreign:
    pass


def resize(*, path: Path, width: int = 100) -> dict[str, Any]:
    return {"path": path, "width": width}


def rich(
    *, at: datetime | None = None, uid: UUID | None = None, price: Decimal = Decimal(0), colour: Colour = Colour.RED,
    order: Order | None = None, paths: list[Path] = [],  # noqa: B006
) -> dict[str, Any]:  # fmt: skip
    return {name: value for name, value in locals().items() if value}


def plain(
    *, name: str, count: int = 1, share: float = 0.5, flags: dict[str, list[bool]] | None = None, kind: Literal["a", "b", 3] = "a",
    anything: Any = None, either: int | str = 0, old: Optional[int] = None,  # noqa: UP045
) -> dict[str, Any]:  # fmt: skip
    return {name: value for name, value in locals().items() if value}


def call(function: Callable[..., Any], payload: object) -> Any:
    return read_parameters(function, task="t").bind(function, payload)()


def test_one_positional_parameter_gets_the_payload_whole() -> None:
    assert call(lambda payload: payload, {"a": 1}) == {"a": 1}
    assert call(lambda payload, more=2: (payload, more), [1]) == ([1], 2)
    assert call(lambda *args, **kwargs: (args, kwargs), 5) == ((5,), {})
    assert read_parameters(lambda order: 0, task="t") == WholePayload("order")


def test_a_task_without_parameters_gets_nothing() -> None:
    assert call(lambda: "ran", {"a": 1}) == "ran"
    assert isinstance(read_parameters(lambda: 0, task="t"), NoParameters)


def test_keyword_only_parameters_get_the_fields_by_name() -> None:
    assert call(resize, {"path": "a.png"}) == {"path": Path("a.png"), "width": 100}
    assert call(resize, {"width": 5, "path": "a.png"}) == {"path": Path("a.png"), "width": 5}
    assert call(lambda *, a=1: a, None) == 1
    assert call(lambda *, a, **rest: (a, rest), {"a": 1, "b": [2]}) == (1, {"b": [2]})


def test_text_becomes_what_json_lacks() -> None:
    payload = {
        "at": "2026-01-04T02:04:20Z", "uid": "00000000-0000-0000-0000-000000000005", "price": "1.50", "colour": "blue",
        "order": {"items": [{"price": "2", "path": "x"}]}, "paths": ["a", "b"],
    }  # fmt: skip

    assert call(rich, payload) == {
        "at": datetime(2026, 1, 4, 2, 4, 20, tzinfo=UTC), "uid": UUID(int=5), "price": Decimal("1.50"), "colour": Colour.BLUE,
        "order": Order([Item(Decimal(2), Path("x"))]), "paths": [Path("a"), Path("b")],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("function", "payload", "words"),
    [
        (resize, {}, "path: missing"),
        (resize, {"path": "a", "widht": 5}, "widht: unknown; known: path, width"),
        (resize, {"path": "a", "width": "50"}, "width: expected int, got str"),
        (resize, {"path": "a", "width": True}, "width: expected int, got bool"),
        (resize, {"path": "a", "width": 50.0}, "width: expected int, got float"),
        (resize, {"path": 3, "width": None}, "path: expected str, got int; width: expected int, got null"),
        (rich, {"colour": "green"}, "colour: invalid enum value 'green'"),
        (rich, {"order": {"items": [{"price": "1"}, {"price": "x"}]}}, "order.items[1].price: invalid decimal string"),
        (rich, {"paths": ["a", 2]}, "paths[1]: expected str, got int"),
        (rich, {"at": 5}, "at: expected datetime | null, got int"),
        (plain, {"name": "n", "flags": {"x": [True, 1]}}, "flags.x[1]: expected bool, got int"),
        (plain, {"name": "n", "kind": "c"}, "kind: expected Literal['a', 'b', 3], got 'c'"),
        (plain, {"name": "n", "either": None}, "either: expected int | str, got null"),
    ],
)  # fmt: skip
def test_a_missing_unknown_or_wrong_field_is_named(function: Callable[..., Any], payload: object, words: str) -> None:
    with pytest.raises(WrongArguments) as raised:
        call(function, payload)

    assert str(raised.value) == f"arguments of task 't': {words}"


@pytest.mark.parametrize("payload", [[], "a", 5, True])
def test_a_payload_that_is_no_object_is_refused(payload: object) -> None:
    with pytest.raises(WrongArguments, match="must be an object with the fields path, width"):
        call(resize, payload)


def test_positional_and_keyword_only_parameters_together_are_refused() -> None:
    with pytest.raises(TypeError, match="'t' has the positional parameter 'a' and the keyword-only 'b'"):
        read_parameters(lambda a, *, b=1: 0, task="t")
    with pytest.raises(TypeError, match=r"write `\*, a, b`"):
        read_parameters(lambda a, b: 0, task="t")


def test_an_annotation_that_no_json_can_become_is_refused_with_its_parameter() -> None:
    def foreign(*, x: list[Foreign]) -> None: ...
    def unknown(*, x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
    def ambiguous(*, x: str | UUID) -> None: ...

    for function, words in ((foreign, "'x'.*Foreign is neither"), (unknown, "NameError.*Missing"), (ambiguous, "'x'.*str-like")):
        parameters = read_parameters(function, task="t")
        with pytest.raises(TypeError, match=words):
            parameters.check()


def test_decorated_and_partial_functions_are_read_through() -> None:
    @functools.wraps(resize)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return resize(*args, **kwargs)

    assert call(wrapped, {"path": "x"})["path"] == Path("x")
    assert call(functools.partial(resize, width=7), {"path": "x"}) == {"path": Path("x"), "width": 7}


def test_without_msgspec_plain_types_are_checked_and_others_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jobyard.engine.tasks.rich_types")
    monkeypatch.setitem(sys.modules, "msgspec", None)

    assert call(plain, {"name": "n", "share": 1}) == {"name": "n", "count": 1, "share": 1.0, "kind": "a"}
    with pytest.raises(WrongArguments, match="count: expected int, got str"):
        call(plain, {"name": "n", "count": "1"})
    parameters = read_parameters(resize, task="t")
    with pytest.raises(TypeError, match=r"is annotated Path, which needs msgspec: .* -m pip install msgspec") as told:
        parameters.check()
    assert "parameter 'path' of task 't' (" in str(told.value) and "test_parameters.py, line" in str(told.value)


PLAIN = (type(None), bool, int, float, str, list, dict, list[int], dict[str, float], int | None, int | str, Literal["a", 1], Any)
VALUES = (None, True, False, 0, 1, 1.0, 2.5, "a", "1", "", [], [1], [1.5], ["a"], {}, {"a": 1}, {"a": "b"})


@pytest.mark.parametrize("hint", PLAIN, ids=str)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_types_are_converted_as_msgspec_does(hint: Any, value: object) -> None:
    def outcome(convert: Callable[[object], object]) -> object:
        try:
            found = convert(value)
        except plain_types.WrongValue:
            return "refused"
        return found, type(found)

    assert plain_types.is_plain(hint)
    assert outcome(functools.partial(plain_types.convert, hint=hint)) == outcome(rich_types.converter(hint))


def test_the_schema_says_what_is_accepted() -> None:
    assert read_parameters(resize, task="t").schema() == {
        "type": "object", "required": ["path"], "additionalProperties": False,
        "properties": {"path": {"type": "string", "format": "path"}, "width": {"type": "integer", "default": 100}},
    }  # fmt: skip
    schema = read_parameters(rich, task="t").schema()
    assert schema is not None and schema["required"] == [] and set(schema["$defs"]) == {"Colour"}
    assert schema["properties"]["colour"] == {"$ref": "#/$defs/Colour", "default": "red"}
    assert read_parameters(lambda payload: 0, task="t").schema() is None
    assert read_parameters(lambda: 0, task="t").schema() == {
        "type": "object", "properties": {}, "required": [], "additionalProperties": False,
    }  # fmt: skip


def test_a_type_may_be_defined_below_its_task() -> None:
    def early(*, x: Later) -> object:  # type: ignore[name-defined]  # noqa: F821
        return x

    parameters = read_parameters(early, task="t")
    early.__globals__["Later"] = int

    try:
        assert isinstance(parameters, FieldParameters) and parameters.arguments({"x": 1}) == {"x": 1}
    finally:
        del early.__globals__["Later"]
