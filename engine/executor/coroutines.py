"""The one event loop of an executor, created for its first coroutine: what belongs to it is kept between jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class CoroutineRunner:
    """Runs one coroutine after the other."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> object:
        """Run the coroutine; then cancel the tasks that it left behind, as `asyncio.run` does."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            return self._loop.run_until_complete(self._loop.create_task(coroutine))
        finally:
            self._cancel_what_is_left(self._loop)

    def _cancel_what_is_left(self, loop: asyncio.AbstractEventLoop) -> None:
        left = set() if loop.is_closed() else asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
