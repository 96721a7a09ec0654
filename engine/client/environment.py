"""What a client finds in its environment: the service to use where it is given no URL (`engine.service_address`), and whether a
test has started its process.

This is the only part of the client that reads the environment, since it runs in users' programs and not under our entry points.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobyard.engine.service_address import service_token, service_url

TEST_PROCESS = "JOBYARD_TEST_PROCESS"


def find_service(url: str | None, token: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, str | None]:
    """The URL and the token. A URL that is given gets only the token given with it: the environment's is for another service."""
    if url is not None:
        return url, token
    return service_url(environment), service_token(environment) if token is None else token


def mark_test(process: int | None) -> None:
    """Tell this process and those that it starts that a test uses the fixture in that process; None: no test does."""
    if process is None:
        os.environ.pop(TEST_PROCESS, None)
    else:
        os.environ[TEST_PROCESS] = str(process)


def tests_process() -> int | None:
    """The process of the test that uses the fixture and has started this one, or is this one."""
    text = os.environ.get(TEST_PROCESS, "")
    return int(text) if text.isdigit() else None
