"""Which answer is which error."""

from __future__ import annotations

import copy
import pickle

import pytest

from jobyard.api.http.reply import STATUS_OF
from jobyard.engine.client.answers import error_of, value_of
from jobyard.engine.client.steps import Response
from jobyard.engine.errors import (
    BrokenAnswer,
    Conflict,
    InvalidRequest,
    JobyardError,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from tests.support.dialogue import CUT, error, ok


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("invalid_field", InvalidRequest), ("unknown_task", InvalidRequest), ("unauthorized", Unauthorized),
        ("not_found", NotFound), ("conflict", Conflict), ("idempotency_conflict", Conflict), ("payload_too_large", TooLarge),
        ("misdirected_host", InvalidRequest), ("overloaded", Unavailable), ("database_unavailable", Unavailable),
        ("internal_error", BrokenAnswer),
    ],
)  # fmt: skip
def test_every_code_has_its_error(code: str, kind: type[JobyardError]) -> None:
    told = error_of(error(STATUS_OF[code], code, message="so it is", field=None, retry_after="3"))

    assert type(told) is kind and (told.code, told.message, str(told)) == (code, "so it is", "so it is")
    assert not isinstance(told, Unavailable) or told.retry_after_s == 3


@pytest.mark.parametrize("code", STATUS_OF)
def test_no_code_of_the_services_is_unknown(code: str) -> None:
    told = error_of(error(STATUS_OF[code], code))

    assert told.code == code and (STATUS_OF[code] >= 500) is isinstance(told, Unavailable | BrokenAnswer)


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"[1]", b'{"error": 1}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_what_is_not_jobyards_is_said_to_be_so(status: int, body: bytes) -> None:
    told = error_of(Response(status=status, body=body))

    assert isinstance(told, BrokenAnswer) and f"HTTP {status}" in told.message and len(told.message) < 600


def test_a_proxy_without_a_word_is_temporary() -> None:
    assert isinstance(error_of(Response(status=502, body=b"<html>bad gateway</html>")), Unavailable)


@pytest.mark.parametrize("body", [ok([1]), ok({"job_id": 7}), Response(status=200, body=b"nonsense")])
def test_a_body_that_does_not_fit_is_broken(body: Response) -> None:
    with pytest.raises(BrokenAnswer, match="HTTP 200"):
        value_of(body, dict[str, str])


@pytest.mark.parametrize(
    "wrong", [NotFound("not_found", "no", "job_id"), Unavailable("overloaded", "later", retry_after_s=7), error_of(CUT)]
)
def test_errors_cross_from_process_to_process(wrong: JobyardError) -> None:
    for twin in (pickle.loads(pickle.dumps(wrong)), copy.copy(wrong)):
        assert type(twin) is type(wrong) and str(twin) == str(wrong) and vars(twin) == vars(wrong)
    assert isinstance(error_of(CUT), Unreachable)
