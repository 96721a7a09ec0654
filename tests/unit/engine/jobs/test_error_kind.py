"""What errors of one cause have in common."""

from __future__ import annotations

import random

import pytest

from jobyard.engine.jobs.error_kind import MAX_KIND_CHARS, kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("boom", "boom"), ("ValueError: invalid id 4711", "ValueError: invalid id"), ("KeyError: 'user_17'", "KeyError: 'user_'"),
        ("no job 69541618f7d4e1295bfa447b here", "no job here"), ("<object at 0x7f3a2b>", "<object at >"),
        ("a 550e8400-e29b-41d4-a716-446655440000 z", "a z"), ("took 1.5 s, then -3e-5", "took s, then"),
        ("commit a1b2c3 is bad", "commit is bad"),
        ("a decade of facades", "a decade of facades"), ("\n\n first \nsecond 2\n", "first"),
        ("a\tb\x00  c", "a b c"), ("42", "…"), ("", "…"),
    ],
)  # fmt: skip
def test_the_kind_is_the_first_line_without_numbers_and_hexadecimal(error: str, kind: str) -> None:
    assert kind_of(error) == kind


def test_without_an_error_there_is_no_kind() -> None:
    assert kind_of(None) is None


def test_the_kind_of_any_text_is_short_without_digits_and_its_own_kind() -> None:
    chance = random.Random(4711)
    for _ in range(3_000):
        error = "".join(chance.choice("ab1 x0-.:,\n\tfF…é'") for _ in range(chance.randint(0, 400)))

        kind = kind_of(error)

        assert kind is not None and 0 < len(kind) <= MAX_KIND_CHARS and kind_of(kind) == kind
        assert not set(kind) & set("0123456789\n\t")
