"""What is JSON for us, and what only Python's decoder would take."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, decode, depth, shown

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refusal(text: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        decode(text)
    return raised.value


@given(anything, st.booleans())
def test_every_value_that_is_json_is_decoded_as_it_is(value: object, ascii_only: bool) -> None:
    assert decode(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")) == value


@given(st.binary())
def test_bytes_of_any_kind_are_decoded_or_refused(text: bytes) -> None:
    try:
        decode(text)
    except InvalidRequest:
        pass


@pytest.mark.parametrize(
    "text",
    [
        b"", b"nul", b"{", b"[1,]", b"{'a':1}", b"01", b"1 2", b"\xef\xbb\xbf1", b'"\x01"', b'"\\x"', b"NaN", b"[Infinity]",
        b"-Infinity",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: bytes) -> None:
    assert refusal(text).code == "invalid_json"


def test_a_fault_is_told_with_its_place() -> None:
    assert refusal(b'{"a":\n  nope}').message == "not JSON: Expecting value at line 2 column 3"


@pytest.mark.parametrize("text", [b'"\xff"', b'"\xed\xa0\x80"', b"\xfe\xff"])
def test_bytes_that_are_not_utf8_are_refused(text: bytes) -> None:
    assert refusal(text).code == "invalid_json"


@pytest.mark.parametrize("text", [rb'"\ud800"', rb'"\uDC00"', rb'{"\ud800":1}', rb'["\ud83d", "\ude00"]', rb'"\ude00\ud83d"'])
def test_half_of_a_surrogate_pair_is_refused(text: bytes) -> None:
    assert "surrogate" in refusal(text).message


@pytest.mark.parametrize(("text", "value"), [(rb'"\ud83d\ude00"', "😀"), (rb'"\\ud800"', "\\ud800")])
def test_a_whole_surrogate_pair_and_an_escaped_backslash_are_text(text: bytes, value: str) -> None:
    assert decode(text) == value


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, -1])
def test_an_integer_within_64_bits_is_kept(number: int) -> None:
    assert decode(str(number).encode()) == number


@pytest.mark.parametrize("number", [b"9223372036854775808", b"-9223372036854775809", b"1" * 5000, b"-" + b"9" * 300])
def test_an_integer_beyond_64_bits_is_refused(number: bytes) -> None:
    assert "64 bits" in refusal(b'{"a": [' + number + b"]}").message


@pytest.mark.parametrize("number", [b"1e309", b"-1E+309", b"1e0000400", b"1" * 400 + b".5", b"0.1e999"])
def test_a_number_that_is_no_double_is_refused(number: bytes) -> None:
    assert "double" in refusal(number).message


@pytest.mark.parametrize("number", [b"1.7976931348623157e308", b"1e-400", b"0." + b"1" * 400, b"1e+99"])
def test_a_number_that_is_a_double_is_kept(number: bytes) -> None:
    value = decode(number)

    assert isinstance(value, float) and math.isfinite(value)


@pytest.mark.parametrize("text", [b'{"a":1,"a":1}', b'[{"b":{"a":1,"c":2,"a":3}}]', rb'{"a":1,"\u0061":2}'])
def test_a_name_twice_in_one_object_is_refused_by_name(text: bytes) -> None:
    wrong = refusal(text)

    assert (wrong.code, wrong.field) == ("repeated_field", "a")


def test_one_of_very_many_names_that_stands_twice_is_found_without_comparing_all_pairs() -> None:
    names = b",".join(b'"%d":1' % number for number in range(200_000))

    assert refusal(b"{" + names + b',"199999":1}').field == "199999"


def test_a_very_long_name_is_cut_short_in_the_error() -> None:
    name = b'"' + b"a" * 100_000 + b'":1'

    wrong = refusal(b"{" + name + b"," + name + b"}")

    assert len(wrong.message) < 200
    assert wrong.field == "a" * LONGEST_SHOWN


@pytest.mark.parametrize("levels", [2000, 100_000])
def test_nesting_without_end_is_refused(levels: int) -> None:
    assert "nested too deeply" in refusal(b"[" * levels + b"]" * levels).message


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (b"[" * 7 + b"]" * 7, 7),
        (b'{"a":' * 6 + b"[]" + b"}" * 6, 7),
        (b"[[],[[]],{},[[[]]],[[]]]", 4),
        (b'["[[[[[[[", "\\"[[[[[", "\\\\", [], [[]]]', 3),
        (b"[[[1,[2]],3],[[4]]]", 4),
    ],
)
def test_depth_counts_brackets_in_each_other_outside_strings(text: bytes, levels: int) -> None:
    assert depth(text, enough=levels) in (0, levels)
    assert depth(text, enough=levels - 1) == levels
    assert depth(text, enough=1) > 1


def test_depth_takes_no_closer_look_at_what_has_too_few_brackets_to_matter() -> None:
    assert depth(b"[[[]]]", enough=100) == 0


@given(anything)
def test_depth_agrees_with_a_walk_over_the_value(value: object) -> None:
    def walk(value: object) -> int:
        if isinstance(value, dict):
            return 1 + max(map(walk, value.values()), default=0)
        return 1 + max(map(walk, value), default=0) if isinstance(value, list) else 0

    counted = depth(json.dumps(value).encode(), enough=2)

    assert (counted > 2) == (walk(value) > 2)


def peeled(text: bytes, *, enough: int) -> int:
    """What `depth` was once: pair after pair of innermost brackets is taken off, which needs as many looks as there are levels."""
    if text.count(b"[") + text.count(b"{") <= enough:
        return 0
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", text, flags=re.DOTALL)
    brackets = re.sub(rb"[^\[\]]", b"", bare.replace(b"{", b"[").replace(b"}", b"]"))
    levels = 0
    while brackets and levels <= enough:
        brackets = brackets.replace(b"[]", b"")
        levels += 1
    return levels


@given(anything, st.integers(0, 6))
def test_depth_counts_what_peeling_off_pairs_would_count(value: object, enough: int) -> None:
    text = json.dumps(value).encode()

    assert depth(text, enough=enough) == peeled(text, enough=enough)


def test_depth_looks_at_each_bracket_once() -> None:
    """A megabyte of nests 98 deep took a hundred looks: seconds for a batch."""
    deep, flat = (b"[" * 98 + b"]" * 98) * 5_000, b"[]" * 98 * 5_000

    assert looks(deep) == looks(flat)
    assert depth(deep, enough=97) == 98


def looks(text: bytes) -> int:
    """How many functions are called for counting, those of the interpreter included."""
    events: list[str] = []
    sys.setprofile(lambda frame, event, function: events.append(event))
    try:
        depth(text, enough=100)
    finally:
        sys.setprofile(None)
    return sum(event.endswith("call") for event in events)


@pytest.mark.parametrize(
    ("value", "text"), [("urgent", '"urgent"'), (None, "null"), (True, "true"), ([1], "[1]"), ("é\n", '"\\u00e9\\n"')]
)
def test_a_value_is_shown_as_json(value: object, text: str) -> None:
    assert shown(value) == text


@given(anything)
def test_what_is_shown_is_short(value: object) -> None:
    assert len(shown(value)) <= LONGEST_SHOWN


def test_a_value_too_deep_to_be_shown_is_told_in_words() -> None:
    value: object = []
    for _ in range(5000):
        value = [value]

    assert shown(value) == "a value nested too deeply"
