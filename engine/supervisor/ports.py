"""The listening sockets of all components, opened before the first fork, so that a port in use is an error of the start.

They outlive the process that serves them, so a connection that arrives while the front is being replaced waits instead of failing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

import psutil

BACKLOG = 2048


def open_ports(host: str, ports: Iterable[int]) -> tuple[dict[int, socket.socket], dict[int, int]]:
    """The sockets by port, and the errno of each port that could not be opened."""
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
        named = f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))} on {host}"
        if number == errno.EADDRINUSE:
            lines.append(f"{named} in use{_listening_pids(set(ports))}: stop what listens there, or set PORT_OFFSET")
        elif number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            lines.append(f"HOST {host} is not an address of this machine: set HOST to one that is, such as 127.0.0.1")
        else:
            lines.append(f"{named} cannot be opened ({os.strerror(number)}): set HOST or PORT_OFFSET to what this user may open")
    return lines


def _listening_pids(ports: set[int]) -> str:
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return ""
    pids = {one.pid for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port in ports and one.pid}
    return f" by pid {', '.join(map(str, sorted(pids)))}" if pids else ""
