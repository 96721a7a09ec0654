"""The error that each answer stands for."""

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
from tests.support.fake_server import RESET, error, ok


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
    found = error_of(error(STATUS_OF[code], code, message="so it is", field=None, retry_after="3"))

    assert type(found) is kind and (found.code, found.message, str(found)) == (code, "so it is", "so it is")
    assert not isinstance(found, Unavailable) or found.retry_after_s == 3


@pytest.mark.parametrize("code", STATUS_OF)
def test_every_code_of_the_service_is_known(code: str) -> None:
    found = error_of(error(STATUS_OF[code], code))

    assert found.code == code and (STATUS_OF[code] >= 500) is isinstance(found, Unavailable | BrokenAnswer)


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b"[1]", b'{"error": 1}', b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_an_answer_that_is_not_from_jobyard_is_reported_as_such(status: int, body: bytes) -> None:
    found = error_of(Response(status=status, body=body))

    assert isinstance(found, BrokenAnswer) and f"HTTP {status}" in found.message and len(found.message) < 600


def test_a_proxys_error_page_is_a_temporary_error() -> None:
    assert isinstance(error_of(Response(status=502, body=b"<html>bad gateway</html>")), Unavailable)


@pytest.mark.parametrize("body", [ok([1]), ok({"job_id": 7}), Response(status=200, body=b"nonsense")])
def test_a_body_of_the_wrong_type_is_a_broken_answer(body: Response) -> None:
    with pytest.raises(BrokenAnswer, match="HTTP 200"):
        value_of(body, dict[str, str])


@pytest.mark.parametrize(
    "wrong", [NotFound("not_found", "no", "job_id"), Unavailable("overloaded", "later", retry_after_s=7), error_of(RESET)]
)
def test_errors_can_be_pickled_and_copied(wrong: JobyardError) -> None:
    for twin in (pickle.loads(pickle.dumps(wrong)), copy.copy(wrong)):
        assert type(twin) is type(wrong) and str(twin) == str(wrong) and vars(twin) == vars(wrong)
    assert isinstance(error_of(RESET), Unreachable)
