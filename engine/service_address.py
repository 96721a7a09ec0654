"""Where Jobyard is and the token for it: one set of names for the server, the client, the commands and the tasks.

    JOBYARD_URL, else HOST and PORT_OFFSET             the gateway's address
    JOBYARD_TOKEN, else API_TOKEN, else TOKEN_FILE     the token, or a file that holds it; of several, clients use the first

Clients use the first of several tokens. The server reads the same names as settings (`engine.config`), but for `JOBYARD_URL`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from jobyard.engine.config import MAX_PORT_OFFSET, Settings, read_token_file
from jobyard.engine.tokens import API, first_secret
from jobyard.engine.topology import FIRST_PORTS, GATEWAY

URL, TOKEN = "JOBYARD_URL", "JOBYARD_TOKEN"
DEFAULT_HOST = "127.0.0.1"
MAX_DIGITS = 20


def service_url(environment: Mapping[str, str]) -> str:
    """The URL of the service that the environment names; raises `ValueError`. An empty variable counts as not set."""
    if url := environment.get(URL):
        return url
    offset = environment.get("PORT_OFFSET") or "0"
    if not (offset.isascii() and offset.isdigit() and len(offset) < MAX_DIGITS and int(offset) <= MAX_PORT_OFFSET):
        raise ValueError(f"PORT_OFFSET must be a whole number from 0 to {MAX_PORT_OFFSET}, not {offset[:100]!r}")
    return local_url(environment.get("HOST") or DEFAULT_HOST, int(offset))


def service_token(environment: Mapping[str, str]) -> str | None:
    """The token that the environment names, None for none; raises `ValueError` for a file that cannot be used."""
    token = environment.get(TOKEN) or environment.get(API)
    if token:
        return first_secret(token)
    path = environment.get("TOKEN_FILE")
    return first_secret(read_token_file(path)) if path else None


def variables_for_tasks(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """What a task's environment must hold so that what it submits reaches the system that runs it.

    A JOBYARD_URL that was set for the server stays, and with it goes its own token only: this system's is told to nobody else.
    """
    if environment.get(URL):
        return {}
    url, token = own_service(settings)
    return {URL: url} | ({TOKEN: token} if token else {})


def own_service(settings: Settings) -> tuple[str, str | None]:
    """The URL and the token with which this machine's own programs reach the system of these settings."""
    token = first_secret(settings.api_token) if settings.api_token else None
    return local_url(settings.host, settings.port_offset), token


def local_url(host: str, port_offset: int) -> str:
    """The gateway of a Jobyard that listens there, as it is reached from the same machine."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return f"http://{host}:{FIRST_PORTS[GATEWAY] + port_offset}"
    if address.is_unspecified:
        address = ipaddress.ip_address(DEFAULT_HOST if address.version == 4 else "::1")
    name = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{name}:{FIRST_PORTS[GATEWAY] + port_offset}"
