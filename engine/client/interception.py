"""Where a test that uses the pytest fixture receives what clients ask: nothing of it reaches the network.

Every client of the process looks here before each operation, so it does not matter when and how it was made. A process that the
test starts, by a fork or as a program, shares none of the test's jobs: its clients refuse.
"""

from __future__ import annotations

import os
from typing import Protocol, TypeVar

from jobyard.engine.client.environment import mark_test, tests_process
from jobyard.engine.client.steps import Operation

T = TypeVar("T")


class Interceptor(Protocol):
    """Carries out operations in place of a client."""

    def run(self, operation: Operation[T]) -> T:
        """What the operation returns; raises what it raises."""


_active: list[Interceptor] = []


def intercept(interceptor: Interceptor) -> None:
    """Give all operations to this one, until `stop_intercepting`."""
    _active.append(interceptor)
    mark_test(os.getpid())


def stop_intercepting(interceptor: Interceptor) -> None:
    """Give them to the one before, or to the network again."""
    _active.remove(interceptor)
    mark_test(os.getpid() if _active else None)


def interceptor() -> Interceptor | None:
    """Who carries out operations now; raises `RuntimeError` in a process that a test has started."""
    test = tests_process()
    if test is not None and test != os.getpid():
        raise RuntimeError(
            f"this process was started by a test that uses the fixture `jobyard` (process {test}): nothing can be submitted "
            "from here, because the test's jobs live in that process"
        )
    return _active[-1] if _active else None
