"""Which tokens a setting names, and what each is good for."""

from __future__ import annotations

import pytest

from jobyard.engine.tokens import API, READ, WORKER, Token, find_token, first_secret, may_ask, read_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []), ("secret", [("api", "secret")]), ("ci=secret", [("ci", "secret")]), ("ops=a=b", [("ops", "a=b")]),
        ("ci=one, ops=two ,three", [("ci", "one"), ("ops", "two"), ("api", "three")]),
        ("ci=old,ci=new", [("ci", "old"), ("ci", "new")]),
        ("c2VjcmV0cw==", [("api", "c2VjcmV0cw==")]), ("c2VjcmV0cw=", [("api", "c2VjcmV0cw=")]), ("a/b=c", [("api", "a/b=c")]),
    ],
)  # fmt: skip
def test_a_setting_holds_tokens_with_and_without_names(text: str, tokens: list[tuple[str, str]]) -> None:
    assert [(token.name, token.secret) for token in read_tokens(API, text)] == tokens


def test_unnamed_tokens_are_called_after_their_setting() -> None:
    assert [read_tokens(setting, "x")[0].name for setting in (API, READ, WORKER)] == ["api", "read", "worker"]


@pytest.mark.parametrize("text", ["two words", "é", "=secret", "ci=two words", "a,a", "ci=a,ops=a", "code=a"])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        read_tokens(API, text)


def test_a_client_uses_the_first_token() -> None:
    assert (first_secret("secret"), first_secret("ci=one,two")) == ("secret", "one")


def test_a_token_is_found_by_its_secret_only() -> None:
    tokens = read_tokens(API, "ci=one,two")

    assert find_token(tokens, "one") == Token(API, "ci", "one")
    assert [find_token(tokens, given) for given in ("ci", "ci=one", "", "on", "oné")] == [None] * 5


JOB = f"/api/jobs/{'a' * 24}"
LEASES = ("/api/leases", "/api/leases/settle", *(f"{JOB}/{verb}" for verb in ("extend", "complete", "fail", "release")))
OTHERS = ("/api/jobs", "/api/tasks/x", f"{JOB}/cancel", "/api/leases/x", "/api/jobs/a/b/fail", "/api/leases\n")


@pytest.mark.parametrize("path", [*LEASES, *OTHERS])
def test_what_a_token_is_good_for(path: str) -> None:
    api, read, worker = (Token(setting, "x", "y") for setting in (API, READ, WORKER))
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE")

    assert all(may_ask(api, method, path) for method in methods)
    assert [method for method in methods if may_ask(read, method, path)] == ["GET", "HEAD"]
    assert [method for method in methods if may_ask(worker, method, path)] == (["POST"] if path in LEASES else [])
