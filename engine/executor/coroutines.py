"""A child's event loop, created for its first coroutine. Objects bound to it, such as a module's client, survive between jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class CoroutineRunner:
    """Runs coroutines one after another in the same event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_closed(self) -> bool:
        """Whether a task has closed the loop."""
        return self._loop is not None and self._loop.is_closed()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> object:
        """Run it to completion, then cancel the tasks that it has left, as `asyncio.run` does."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(self._loop.create_task(coroutine))
        finally:
            self._cancel_pending(self._loop)

    def _cancel_pending(self, loop: asyncio.AbstractEventLoop) -> None:
        pending = set() if loop.is_closed() else asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
