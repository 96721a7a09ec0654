"""A traceback keeps the lines that lead to the error, however much the error says."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from jobyard.engine.executor.outcomes import MAX_ERROR_CHARS, raised
from jobyard.engine.executor.traceback_text import traceback_text

MAX_CHARS = 4_000
CODE_LINE = "raise fault  # here"


def caught(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as wrong:
        return wrong
    raise AssertionError("nothing was raised")


def raise_it(fault: BaseException) -> None:
    raise fault  # here


def with_notes(notes: list[str]) -> Exception:
    fault = ValueError("x")
    for note in notes:
        fault.add_note(note)
    return fault


def from_cause(message: str, cause: str) -> None:
    try:
        raise_it(KeyError(cause))
    except KeyError as wrong:
        raise ValueError(message) from wrong


def deep(levels: int) -> None:
    if levels == 0:
        raise_it(ValueError("deep"))
    deeper(levels - 1)


def deeper(levels: int) -> None:
    deep(levels)


def text_of(wrong: BaseException, max_chars: int = MAX_CHARS) -> str:
    return traceback_text(wrong, wrong.__traceback__, max_chars=max_chars)


def test_a_short_one_is_what_python_prints() -> None:
    wrong = caught(lambda: from_cause("outer", "inner"))

    assert text_of(wrong) == "".join(traceback.format_exception(wrong))


@pytest.mark.parametrize(
    "fault",
    [
        ValueError("x" * 6_000), ValueError("x\n" * 6_000), ValueError("x" * 2_000_000), with_notes(["n" * 6_000]),
        with_notes(["n" * 50] * 500), with_notes(["a\nb\n" * 3_000]), SyntaxError("x" * 6_000, ("f.py", 1, 1, "y" * 6_000)),
        ExceptionGroup("x" * 6_000, [ValueError("y" * 6_000)]),
    ],
    ids=["one line", "many lines", "megabytes", "a note", "many notes", "a long note", "syntax", "group"],
)  # fmt: skip
def test_a_long_message_is_cut_before_any_code_line(fault: BaseException) -> None:
    text = text_of(caught(lambda: raise_it(fault)))

    assert CODE_LINE in text
    assert text.startswith(("Traceback (most recent call last):", "  + Exception Group Traceback"))
    assert len(text) <= MAX_CHARS
    assert type(fault).__name__ in text


def test_of_a_chain_every_exception_keeps_its_code_lines() -> None:
    text = text_of(caught(lambda: from_cause("x" * 6_000, "y" * 6_000)))

    assert CODE_LINE in text
    assert "raise ValueError(message) from wrong" in text
    assert "direct cause" in text
    assert len(text) <= MAX_CHARS


def test_of_very_many_frames_the_last_are_kept() -> None:
    text = text_of(caught(lambda: deep(200)))

    assert text.startswith("…")
    assert CODE_LINE in text
    assert text.endswith("ValueError: deep\n")
    assert len(text) == MAX_CHARS


@pytest.mark.parametrize("message", ["x" * 6_000, "x" * MAX_ERROR_CHARS, "\0" * 3_000, "\ud800" * 6_000, "\n" * 6_000])
def test_what_is_kept_of_an_error_has_at_most_4000_characters(message: str) -> None:
    outcome = raised(caught(lambda: raise_it(ValueError(message))), ours="nowhere")

    assert outcome.error is not None and len(outcome.error) <= MAX_ERROR_CHARS == 4_000
    assert outcome.error.endswith("…")
    assert outcome.traceback is not None and len(outcome.traceback) <= MAX_ERROR_CHARS
    assert CODE_LINE in outcome.traceback
