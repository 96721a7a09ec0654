"""Opening the listening sockets, and the error messages for ports that cannot be opened."""

from __future__ import annotations

import errno
import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.supervisor import ports
from jobyard.engine.supervisor.ports import explain, open_ports
from jobyard.engine.transient import RETRY_FOR_S
from jobyard.engine.world import World
from tests.support.waiting import LIMIT_S

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
    with listeners[free], socket.create_connection((LOOPBACK, free), timeout=LIMIT_S):
        pass


Connection = tuple[socket.socket, socket.socket]


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Both ends of an outgoing connection; nobody listens on its client's port."""
    with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            yield client, accepted


def test_a_port_that_an_outgoing_connection_has_for_a_moment_is_tried_again(connection: Connection) -> None:
    client, accepted = connection
    port = client.getsockname()[1]

    class Ends(World):
        """The connection ends before the second attempt, for which time is asked for a third time."""

        asked = 0

        def monotonic(self) -> float:
            self.asked += 1
            if self.asked < 3:
                return super().monotonic()
            if client.fileno() >= 0:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its port is free at once
            client.close()
            accepted.close()
            return super().monotonic()

    at_once, faults = open_ports(LOOPBACK, [port])
    listeners, none = open_ports(LOOPBACK, [port], world=Ends())

    assert (at_once, faults) == ({}, {port: errno.EADDRINUSE})
    assert (list(listeners), none) == ([port], {})
    listeners[port].close()


def test_an_outgoing_connection_that_stays_is_told_with_the_range_of_ports_to_avoid(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port = connection[0].getsockname()[1]
    (tmp_path / "range").write_text(f"{port - 1}\t{port + 1}\n")
    monkeypatch.setattr(ports, "CLIENT_RANGE", tmp_path / "range")
    times = iter((0.0, 1.0, RETRY_FOR_S))

    class Passes(World):
        def monotonic(self) -> float:
            return next(times)

    listeners, faults = open_ports(LOOPBACK, [port], world=Passes())

    assert listeners == {}
    assert explain(LOOPBACK, faults) == [
        f"port {port} on {LOOPBACK} in use by an outgoing connection of another program: the kernel gives ports {port - 1} to"
        f" {port + 1} to outgoing connections: use a lower PORT_OFFSET"
    ]


def test_a_port_on_which_somebody_listens_is_not_waited_for(taken: list[int]) -> None:
    class Stopped(World):
        def monotonic(self) -> float:
            return 0.0

    _, faults = open_ports(LOOPBACK, taken, world=Stopped())

    assert list(faults) == taken


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


def test_without_a_free_descriptor_a_port_is_tried_again() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    timer = threading.Timer(0.2, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
    try:
        refused = open_ports(LOOPBACK, [port])
        timer.start()
        listeners, faults = open_ports(LOOPBACK, [port], world=World())
    finally:
        timer.join()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert (refused, list(listeners), faults) == (({}, {port: errno.EMFILE}), [port], {})
    listeners[port].close()
