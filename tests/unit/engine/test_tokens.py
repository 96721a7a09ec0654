"""Tokens with and without names, as settings give them."""

from __future__ import annotations

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.service_address import service_token, variables_for_tasks
from jobyard.engine.tokens import first_secret, read_tokens

LONG = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []), ("s3cret", [("api", "s3cret")]), ("ops=s3cret", [("ops", "s3cret")]),
        ("ops=a,ci=b==,c", [("ops", "a"), ("ci", "b=="), ("api", "c")]),
        ("YWJj==", [("api", "YWJj==")]), ("a+b=c", [("api", "a+b=c")]), ("a=b=c", [("api", "a=b=c")]),
    ],
)  # fmt: skip
def test_a_token_may_have_a_name(text: str, tokens: list[tuple[str, str]]) -> None:
    assert [tuple(one) for one in read_tokens(text)] == tokens
    assert all(first_secret(secret) == secret for _, secret in tokens), "what a client is given is the token itself"


@pytest.mark.parametrize("text", ["two words", "a,,b", "ops=ä", ","])
def test_what_is_no_token_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(CannotStart, match="API_TOKEN must be visible ASCII characters without spaces"):
        read_settings({"API_TOKEN": text})


def test_clients_and_tasks_get_the_first_token_without_its_name() -> None:
    settings = read_settings({"API_TOKEN": "ops=abc,ci=def"})

    assert variables_for_tasks(settings, {})["JOBYARD_TOKEN"] == "abc"
    assert service_token({"API_TOKEN": "ops=abc,ci=def"}) == "abc"


def test_every_token_of_a_host_that_is_reachable_is_long() -> None:
    assert read_settings({"HOST": "0.0.0.0", "API_TOKEN": f"ops={LONG},{LONG}"}).host == "0.0.0.0"
    with pytest.raises(CannotStart, match="with 32 characters or more"):
        read_settings({"HOST": "0.0.0.0", "API_TOKEN": f"ops={LONG},a.name.of.more.than.32.characters=short"})
