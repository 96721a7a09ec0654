"""Small tables of named rows on MongoDB: one document a row."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.named_port import NamedRow


class MongoNamedRows:
    """See `NamedRows`."""

    def __init__(self, server: MongoServer, table: str, *, in_use: Callable[[str], bool] = lambda name: False) -> None:
        """`in_use`: whether the row of a name may not be deleted; without a transaction, that is true of a moment before."""
        self._server = server
        self._rows: Collection[Document] = server.database[table]
        self._in_use = in_use

    def all(self) -> list[NamedRow]:
        """See `NamedRows`."""
        with self._server.call():
            return [_row(document) for document in self._rows.find().sort("_id", 1)]

    def find(self, name: str) -> NamedRow | None:
        """See `NamedRows`."""
        with self._server.call():
            document = self._rows.find_one({"_id": name})
        return None if document is None else _row(document)

    def save(self, row: NamedRow, *, was: int | None) -> bool:
        """See `NamedRows`."""
        document = {"_id": row.name, "version": row.version, "body": row.body.decode()}
        with self._server.call(writes=True):
            if was is not None:
                return bool(self._rows.replace_one({"_id": row.name, "version": was}, document).matched_count)
            with contextlib.suppress(DuplicateKeyError):
                self._rows.insert_one(document)
                return True
        return False

    def delete(self, name: str) -> bool:
        """See `NamedRows`."""
        if self._in_use(name):
            return False
        with self._server.call(writes=True):
            return bool(self._rows.delete_one({"_id": name}).deleted_count)


def _row(document: dict[str, Any]) -> NamedRow:
    return NamedRow(document["_id"], document["version"], document["body"].encode())
