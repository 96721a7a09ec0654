"""A steady load on a running system, from threads of the test, which records every acknowledged job."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException

from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S

TRY_AGAIN_S = 0.02


class Load:
    """Submits batches one after the other; each is sent with its keys until it is acknowledged, so there is one job per key."""

    def __init__(self, jobyard: Jobyard, *, jobs_a_batch: int, **fields: object) -> None:
        self.job_ids: list[str] = []
        self._jobyard = jobyard
        self._jobs_a_batch = jobs_a_batch
        self._fields = fields
        self._is_over = threading.Event()

    def send_batch(self, fields_of: Callable[[int], dict[str, object]] = lambda number: {}) -> None:
        """Submit a batch, and wait until it is acknowledged."""
        jobs = [
            {**self._fields, **fields_of(number), "idempotency_key": os.urandom(8).hex()} for number in range(self._jobs_a_batch)
        ]
        while True:
            with contextlib.suppress(OSError, HTTPException):
                answer = self._jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs})
                if answer.status in (200, 201):
                    self.job_ids += answer.json["job_ids"]
                    return
                if answer.status != 503:
                    raise AssertionError(f"the batch was refused: {answer}")
            self._is_over.wait(TRY_AGAIN_S)


@contextlib.contextmanager
def meanwhile(act: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Repeat `act` with this pause in a thread until the `with` ends, which raises the thread's exception, if any."""
    is_over = threading.Event()
    faults: list[BaseException] = []

    def repeat() -> None:
        try:
            while not is_over.wait(every_s):
                act()
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(LIMIT_S)
    if faults:
        raise faults[0]
