"""Notifies a watcher of jobs that another host accepted, where the server offers change streams (replica sets do).

One thread waits on the stream and makes a descriptor readable; the watcher does everything else. The server filters: it reports
only new jobs that this host did not accept, and sends nothing of them but their existence. The watcher's next poll finds what is
missed while the stream is down, so nothing is resumed. If the server has no change streams, the thread ends and polling
alone serves; an error on a stream that was offered does not end it.
"""

from __future__ import annotations

import os
import threading

from pymongo.errors import OperationFailure, PyMongoError

from jobyard.engine.logs import Log
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.server import MongoServer

AGAIN_S = 2.0
AWAIT_MS = 5_000
NEWS = ("jobs", "batches")


class MongoFeed:
    """Implements `Feed`."""

    def __init__(self, server: MongoServer, *, origin: str, log: Log, again_s: float = AGAIN_S) -> None:
        """`again_s`: the pause after an error."""
        self._server = server
        self._log = log
        self._again_s = again_s
        self._pipeline: list[Document] = [
            {"$match": {"operationType": "insert", "ns.coll": {"$in": list(NEWS)}, "fullDocument.origin": {"$ne": origin}}},
            {"$project": {"_id": 1}},
        ]
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_offered = False
        self._never = threading.Event()
        threading.Thread(target=self._listen, name="change stream", daemon=True).start()

    def clear(self) -> None:
        """See `Feed`."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def _listen(self) -> None:
        self._listen_on()
        self._server.close()

    def _listen_on(self) -> None:
        while True:
            try:
                self._is_offered = False
                self._follow()
            except OperationFailure as refused:
                if not self._is_offered and not refused.has_error_label("ResumableChangeStreamError"):
                    self._log.info("no_change_stream", reason=str(refused.details.get("errmsg", "")) if refused.details else "")
                    return
            except PyMongoError:
                pass  # unreachable for now; polling serves meanwhile
            self._never.wait(self._again_s)

    def _follow(self) -> None:
        with self._server.database.watch(self._pipeline, max_await_time_ms=AWAIT_MS) as stream:
            self._is_offered = True
            self._ring()  # for whatever was missed before
            for _ in stream:
                self._ring()

    def _ring(self) -> None:
        os.eventfd_write(self.fd, 1)
