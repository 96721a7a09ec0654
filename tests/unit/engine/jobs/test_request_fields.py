"""The errors for a body's fields, the same for all requests."""

from __future__ import annotations

import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.request_fields import checked, fields_of


@pytest.mark.parametrize("body", [b"", b" \n", b"{}"])
def test_a_body_whose_fields_are_all_optional_may_be_left_out(body: bytes) -> None:
    assert fields_of(body, ("reason",)) == {}


@pytest.mark.parametrize(
    ("body", "known", "told"),
    [(b"[1]", ("reason",), "the body must be a JSON object, not [1]"),
     (b'{"x": 1}', ("reason", "until"), '"x" is not a field of this request; known: reason, until'),
     (b'{"x": 1}', (), '"x" is not a field of this request; it takes none')],
)  # fmt: skip
def test_what_is_wrong_and_what_would_be_right_is_told(body: bytes, known: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        fields_of(body, known)

    assert wrong.value.message == told


def test_a_value_that_cannot_be_read_is_told_with_its_field() -> None:
    def read(value: object) -> int:
        raise ValueError("a number")

    with pytest.raises(InvalidRequest) as wrong:
        checked("for_s", "soon", read)

    told = wrong.value
    assert (told.code, told.field, told.message) == ("invalid_field", "for_s", 'for_s must be a number, not "soon"')
