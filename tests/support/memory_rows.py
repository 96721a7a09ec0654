"""Small tables of named rows, kept in memory."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.store.named_port import NamedRow


class InMemoryNamedRows:
    """See `NamedRows`."""

    def __init__(self, *, in_use: Callable[[str], bool] = lambda name: False) -> None:
        self._in_use = in_use
        self._rows: dict[str, NamedRow] = {}

    def all(self) -> list[NamedRow]:
        return [self._rows[name] for name in sorted(self._rows)]

    def find(self, name: str) -> NamedRow | None:
        return self._rows.get(name)

    def save(self, row: NamedRow, *, was: int | None) -> bool:
        stored = self._rows.get(row.name)
        if (None if stored is None else stored.version) != was:
            return False
        self._rows[row.name] = row
        return True

    def delete(self, name: str) -> bool:
        return not self._in_use(name) and self._rows.pop(name, None) is not None
