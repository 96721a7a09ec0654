"""Descriptors that the user's modules opened at import, and that executors inherit.

Files, SQLite databases and datagram sockets work in every executor. A TCP connection does not: executors that share one would
read each other's responses. So each executor disconnects its copy, as if the peer had closed it, and clients that keep connections
alive reconnect.
"""

from __future__ import annotations

import _socket
import contextlib
import gc
import io
import os
import stat
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, SOCK_STREAM, socket, socketpair

WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def flush_open_files() -> None:
    """Called in the template before the first fork: otherwise every executor would write the buffered data again.

    Text layers are flushed before the binary buffers below them.
    """
    writers = [one for one in gc.get_objects() if type(one) in WRITERS]
    for writer in sorted(writers, key=lambda one: not isinstance(one, io.TextIOWrapper)):
        with contextlib.suppress(ValueError, OSError):
            writer.flush()


def tcp_peers() -> dict[int, str]:
    """The peer address of each TCP connection of this process, by descriptor."""
    return dict(_tcp_connections())


def cut_tcp_connections() -> None:
    """Called in a fresh executor: every inherited TCP connection reads as closed; the template's copy is not affected."""
    closed = None
    for fd, _ in list(_tcp_connections()):
        if closed is None:
            closed, peer = socketpair()
            peer.close()
        os.dup2(closed.fileno(), fd, inheritable=os.get_inheritable(fd))
    if closed is not None:
        closed.close()


@contextlib.contextmanager
def _without_default_timeout() -> Iterator[None]:
    """Wrapping a descriptor under a default timeout, which a module may have set, would make the shared socket non-blocking in
    every process."""
    timeout = _socket.getdefaulttimeout()
    _socket.setdefaulttimeout(None)
    try:
        yield
    finally:
        _socket.setdefaulttimeout(timeout)


def _tcp_connections() -> Iterator[tuple[int, str]]:
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), _without_default_timeout():
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket(fileno=os.dup(fd)) as sock:
                    if sock.family in (AF_INET, AF_INET6) and sock.type == SOCK_STREAM:
                        host, port, *_ = sock.getpeername()
                        yield fd, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
