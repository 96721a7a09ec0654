"""The guarantees of every store about small tables of named rows: a name, a version that rises with every change, and JSON."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class NamedRow(NamedTuple):
    """One row; `body` is JSON text."""

    name: str
    version: int
    body: bytes


class NamedRows(Protocol):
    """One table. Any method may raise `StoreUnavailable`."""

    def all(self) -> list[NamedRow]:
        """Every row, by name."""

    def find(self, name: str) -> NamedRow | None:
        """The row of this name."""

    def save(self, row: NamedRow, *, was: int | None) -> bool:
        """Store it if the stored one still has the version `was` (None: if there is none); the new one's version must be higher."""

    def delete(self, name: str) -> bool:
        """Remove it; False if there is none, or it is in use."""
