"""The options of a template, passed as one command-line argument."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`supervisor` is a pid; `supervisor_line`, `listener` and `closed_in_children` are descriptors."""

    supervisor: int
    supervisor_line: int
    listener: int
    closed_in_children: list[int]
    modules: list[str]
    folders: list[str]
    checkout: str | None
    temporary: str
    log_level: str
    enable_shell: bool
    http_allow_private: bool
    django_settings: str | None = None

    def to_text(self) -> str:
        """Encode for the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Options:
        """The inverse of `to_text`."""
        return cls(**json.loads(text))
