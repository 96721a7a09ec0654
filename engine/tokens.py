"""Tokens as the settings give them, comma-separated: `token`, or `name=token` to show by that name who did something."""

from __future__ import annotations

import re
from typing import NamedTuple

UNNAMED = "api"
"""The name of a token that has none, and of a client without a token."""
_NAMED = re.compile(r"([A-Za-z0-9_.-]{1,64})=([^=]+=*)")
"""`=` at the end, as base64 has it, makes no name. So a secret by itself is never read as one with a name."""


class Token(NamedTuple):
    """A token and its name."""

    name: str
    secret: str


def read_tokens(text: str, *, unnamed: str = UNNAMED) -> tuple[Token, ...]:
    """The tokens of a setting's value; raises `ValueError` with what would be valid."""
    tokens = []
    for word in text.split(",") if text else ():
        if not re.fullmatch(r"[\x21-\x7e]+", word):
            raise ValueError("visible ASCII characters without spaces, for example 32 random hex digits; several comma-separated")
        named = _NAMED.fullmatch(word)
        tokens.append(Token(named[1], named[2]) if named else Token(unnamed, word))
    return tuple(tokens)


def first_secret(text: str | None) -> str | None:
    """The token that a client sends which has this setting."""
    return read_tokens(text)[0].secret if text else None
