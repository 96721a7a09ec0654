"""Reads payloads and priorities as people write them on the command line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click


def read_payload(text: str) -> Any:
    """JSON; `@FILE` reads it from a file, `-` from stdin."""
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text("utf-8")
        return json.loads(text)
    except (OSError, ValueError, RecursionError) as wrong:
        raise click.UsageError(f"the payload is not JSON: {wrong} (a string needs its own quotes: '\"text\"')") from None


def read_priority(text: str) -> int | str:
    """A number, or a word that the service knows."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else text
