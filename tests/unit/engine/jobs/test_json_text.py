"""Payloads and results as JSON text."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.json_text import NotJson, to_json_text


class Colour(enum.Enum):
    RED = "red"
    DATED = date(2026, 1, 4)


class Level(enum.IntEnum):
    HIGH = 9


@dataclasses.dataclass
class Item:
    price: Decimal
    colour: Colour = Colour.RED


class Order(msgspec.Struct, tag="order", rename="camel"):
    order_id: int
    items: list[Item]
    note: str | msgspec.UnsetType = msgspec.UNSET


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def containing_itself() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "ä"]}, '{"a":[1,2.5,null,true,"ä"]}'),
        (datetime(2026, 1, 4, 2, 4, 20, tzinfo=UTC), '"2026-01-04T02:04:20Z"'),
        (datetime(2026, 1, 4, 2, 4, tzinfo=timezone(timedelta(hours=1))), '"2026-01-04T02:04:00+01:00"'),
        (datetime(2026, 1, 4, 2, 4, 20, 5), '"2026-01-04T02:04:20.000005"'),  # noqa: DTZ001
        (date(2026, 1, 4), '"2026-01-04"'),
        (time(2, 4), '"02:04:00"'),
        (UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (Decimal("1.50"), '"1.50"'),
        (Path("a/b"), '"a/b"'),
        (PurePosixPath("/x"), '"/x"'),
        (Colour.RED, '"red"'),
        (Colour.DATED, '"2026-01-04"'),
        (Level.HIGH, "9"),
        ((1, (2,)), "[1,[2]]"),
        (Item(Decimal(1)), '{"price":"1","colour":"red"}'),
        (Order(7, [Item(Decimal(1))]), '{"type":"order","orderId":7,"items":[{"price":"1","colour":"red"}]}'),
        (Point(1, 2), "[1,2]"),
        ({1: "one", None: 0, False: 1.5}, '{"1":"one","null":0,"false":1.5}'),
        (-(2**63), "-9223372036854775808"),
        (nested(100), "[" * 100 + "null" + "]" * 100),
    ],
)  # fmt: skip
def test_what_json_lacks_becomes_text_by_fixed_rules(value: Any, text: str) -> None:
    assert to_json_text(value).decode() == text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "result: set has no JSON form"),
        ({"rows": [0, {"when it was": object()}]}, 'result.rows[1]["when it was"]: object has no JSON form'),
        (b"x", "result: bytes has no JSON form"),
        ([0, 2**63], "result[1]: the integer does not fit in 64 bits"),
        ([10**5000], "result[0]: the integer does not fit in 64 bits"),
        ({"a": float("nan")}, "result.a: nan is not a JSON number"),
        ({1: "a", "1": "b"}, "result: the name '1' occurs twice"),
        ({(1, 2): 3}, "result: tuple cannot be the name of a field; names are text"),
        ({"a": "\ud800"}, "result.a: the text contains half of a surrogate pair"),
        ({"\udfff": 1}, "result: a name: the text contains half of a surrogate pair"),
        (containing_itself(), "result[1]: the value contains itself"),
        (Item(price=object()), "result.price: object has no JSON form"),  # type: ignore[arg-type]
        (Item, "result: type has no JSON form"),
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_named_with_its_place_in_the_value(value: Any, words: str) -> None:
    with pytest.raises(NotJson) as raised:
        to_json_text(value, root="result")

    assert str(raised.value) == words


def test_a_value_may_be_nested_as_deeply_as_a_payload() -> None:
    with pytest.raises(NotJson, match="nested more than 100 levels deep"):
        to_json_text(nested(101))
    with pytest.raises(NotJson, match="nested more than 100 levels deep"):
        to_json_text({"a": nested(50_000)})


@pytest.mark.parametrize("text", ['{"a":1,"\\u0061":2}', "9223372036854775808", "1e999", '"\\ud800"', "NaN"])
def test_what_a_request_may_not_contain_a_result_may_not_either(text: str) -> None:
    with pytest.raises(InvalidRequest):
        strict_json.decode(text.encode())

    value = {"a": 1, "b": 2} if text.startswith("{") else json.loads(text)

    if not text.startswith("{"):
        with pytest.raises(NotJson):
            to_json_text(value)
