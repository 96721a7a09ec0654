"""The listening sockets of all components, opened before the first fork, so that a port in use is an error of the start.

They outlive the process that serves them, so a connection that arrives while the front is being replaced waits instead of failing.
The kernel gives ports of a certain range to outgoing connections. There a port may be in use for a moment although nobody listens.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path

import psutil

from jobyard.engine.transient import TRANSIENT, attempts
from jobyard.engine.world import World

BACKLOG = 2048
LISTENERS, LISTEN = (Path("/proc/net/tcp"), Path("/proc/net/tcp6")), "0A"
CLIENT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def open_ports(
    host: str, ports: Iterable[int], *, world: World | None = None
) -> tuple[dict[int, socket.socket], dict[int, int]]:  # fmt: skip
    """The sockets by port, and the errno of each port that could not be opened.

    With a `world`, a port in use on which nobody listens, or for which no descriptor was free, is tried again for a while.
    """
    listeners: dict[int, socket.socket] = {}
    faults: dict[int, int] = {}
    wanted = list(ports)
    for _ in attempts(world) if world is not None else [True]:
        opened, closed = _open(host, wanted)
        listeners |= opened
        faults = {port: number for port, number in faults.items() if port not in wanted} | closed
        wanted = _passing(closed)
        if not wanted:
            break
    return listeners, faults


def _open(host: str, ports: Iterable[int]) -> tuple[dict[int, socket.socket], dict[int, int]]:
    listeners: dict[int, socket.socket] = {}
    faults: dict[int, int] = {}
    for port in ports:
        try:
            listeners[port] = _listen(host, port)
        except OSError as fault:
            faults[port] = fault.errno or errno.EADDRINUSE
    return listeners, faults


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def explain(host: str, faults: dict[int, int]) -> list[str]:
    """The error messages, each with a remedy: one for all ports in use, and one for each other reason."""
    lines: list[str] = []
    for number in sorted(set(faults.values())):
        ports = sorted(port for port, fault in faults.items() if fault == number)
        named = _named(host, ports)
        if number == errno.EADDRINUSE:
            lines += _explain_in_use(host, ports)
        elif number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            lines.append(f"HOST {host} is not an address of this machine: set HOST to one that is, such as 127.0.0.1")
        else:
            lines.append(f"{named} cannot be opened ({os.strerror(number)}): set HOST or PORT_OFFSET to what this user may open")
    return lines


def given_to_clients(ports: Iterable[int]) -> list[int]:
    """Those of the ports that the kernel may give to an outgoing connection of any program."""
    lowest, highest = client_range()
    return sorted(port for port in ports if lowest <= port <= highest)


def client_range() -> tuple[int, int]:
    """The lowest and the highest port that the kernel gives to outgoing connections."""
    try:
        lowest, highest = map(int, CLIENT_RANGE.read_text().split())
    except (OSError, ValueError):
        return 1, 0
    return lowest, highest


def advice_on_clients() -> str:
    """How to choose ports that no outgoing connection takes."""
    lowest, highest = client_range()
    return f"the kernel gives ports {lowest} to {highest} to outgoing connections: use a lower PORT_OFFSET"


def _explain_in_use(host: str, ports: list[int]) -> list[str]:
    passing = [port for port in _without_listener(dict.fromkeys(ports, errno.EADDRINUSE)) if port in given_to_clients(ports)]
    taken = [port for port in ports if port not in passing]
    lines = []
    if taken:
        lines.append(f"{_named(host, taken)} in use{_listening_pids(set(taken))}: stop what listens there, or set PORT_OFFSET")
    if passing:
        lines.append(f"{_named(host, passing)} in use by an outgoing connection of another program: {advice_on_clients()}")
    return lines


def _named(host: str, ports: list[int]) -> str:
    return f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))} on {host}"


def _passing(faults: dict[int, int]) -> list[int]:
    """The ports whose fault may pass within moments."""
    return [*_without_listener(faults), *(port for port, number in faults.items() if number in TRANSIENT)]


def _without_listener(faults: dict[int, int]) -> list[int]:
    """The ports in use on which nobody listens."""
    in_use = [port for port, number in faults.items() if number == errno.EADDRINUSE]
    listening = _listening_ports() if in_use else set()
    return [port for port in in_use if port not in listening]


def _listening_ports() -> set[int]:
    """Of all processes; much cheaper than asking for the processes too."""
    found: set[int] = set()
    for table in LISTENERS:
        with contextlib.suppress(OSError):
            entries = [line.split() for line in table.read_text().splitlines()[1:]]
            found |= {int(entry[1].rpartition(":")[2], 16) for entry in entries if entry[3] == LISTEN}
    return found


def _listening_pids(ports: set[int]) -> str:
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return ""
    pids = {one.pid for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port in ports and one.pid}
    return f" by pid {', '.join(map(str, sorted(pids)))}" if pids else ""
