"""The service that a client uses which is given no URL: the one that the environment names (`engine.service_address`).

This is the only part of the client that reads the environment, since it runs in users' programs and not under our entry points.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from jobyard.engine.service_address import service_token, service_url


def find_service(url: str | None, token: str | None, environment: Mapping[str, str] = os.environ) -> tuple[str, str | None]:
    """The URL and the token. A URL that is given gets only the token given with it: the environment's is for another service."""
    if url is not None:
        return url, token
    return service_url(environment), service_token(environment) if token is None else token
