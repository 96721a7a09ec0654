"""Inherited sockets: which are disconnected, and what inspecting them must not change."""

from __future__ import annotations

import os
import socket

from jobyard.engine.executor.inherited import cut_tcp_connections, tcp_peers


def test_under_a_default_timeout_no_socket_becomes_non_blocking() -> None:
    one, other = socket.socketpair()
    try:
        socket.setdefaulttimeout(1)

        peers = tcp_peers()
        assert one.fileno() not in peers
        assert os.get_blocking(one.fileno()) and os.get_blocking(other.fileno())
        assert socket.getdefaulttimeout() == 1
    finally:
        socket.setdefaulttimeout(None)
        one.close()
        other.close()


def test_only_tcp_connections_are_cut() -> None:
    pair = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        pid = os.fork()
        if pid == 0:
            cut_tcp_connections()
            pair[0].send(b"x")
            os._exit(0 if client.recv(1) == b"" and pair[1].recv(1) == b"x" else 1)

        _, status = os.waitpid(pid, 0)
        accepted.send(b"still there")

        assert status == 0 and client.recv(5) == b"still"
        accepted.close()
    for one in pair:
        one.close()
