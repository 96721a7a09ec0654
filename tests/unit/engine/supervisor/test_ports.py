"""Opening the listening sockets, and the error messages for ports that cannot be opened."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from jobyard.engine.supervisor.ports import explain, open_ports

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[list[int]]:
    socks = [socket.create_server((LOOPBACK, 0)) for _ in range(2)]
    yield sorted(sock.getsockname()[1] for sock in socks)
    for sock in socks:
        sock.close()


def test_ports_in_use_are_reported_in_one_line_with_pids_and_remedy(taken: list[int]) -> None:
    listeners, faults = open_ports(LOOPBACK, taken)

    lines = explain(LOOPBACK, faults)

    assert listeners == {}
    assert len(lines) == 1
    assert lines[0] == (
        f"ports {taken[0]}, {taken[1]} on {LOOPBACK} in use by pid {os.getpid()}: stop what listens there, or set PORT_OFFSET"
    )


def test_free_ports_are_open_when_this_returns(taken: list[int]) -> None:
    with socket.create_server((LOOPBACK, 0)) as sock:
        free = sock.getsockname()[1]

    listeners, faults = open_ports(LOOPBACK, [free, taken[0]])

    assert list(faults) == [taken[0]]
    with listeners[free], socket.create_connection((LOOPBACK, free), timeout=1):
        pass


def test_an_address_of_another_machine_is_reported_once_for_all_ports() -> None:
    _, faults = open_ports("192.0.2.1", [6000, 6001])

    assert explain("192.0.2.1", faults) == [
        "HOST 192.0.2.1 is not an address of this machine: set HOST to one that is, such as 127.0.0.1"
    ]


def test_a_forbidden_port_is_reported_with_the_systems_reason() -> None:
    lines = explain(LOOPBACK, {80: errno.EACCES})

    assert lines == [
        "port 80 on 127.0.0.1 cannot be opened (Permission denied): set HOST or PORT_OFFSET to what this user may open"
    ]
