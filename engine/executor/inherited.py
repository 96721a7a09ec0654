"""What executors inherit of what the user's modules opened at import: everything, except for TCP connections.

Files, SQLite databases and datagram sockets work in every executor. A TCP connection does not: executors would read each other's
responses. So each executor cuts its copy, as if the peer had closed it, and clients that keep connections alive reconnect.
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
    """Flush files in the template before the first fork; otherwise every executor writes the buffers again. Text before bytes."""
    writers = [one for one in gc.get_objects() if type(one) in WRITERS]
    for writer in sorted(writers, key=lambda one: not isinstance(one, io.TextIOWrapper)):
        with contextlib.suppress(ValueError, OSError):
            writer.flush()


def tcp_peers() -> dict[int, str]:
    """The peers of this process's TCP connections, by descriptor."""
    return dict(_tcp_connections())


def cut_tcp_connections() -> None:
    """In a fresh executor: every TCP connection reads as closed from now on; the template's own copy is unaffected."""
    cut = None
    for fd, _ in list(_tcp_connections()):
        if cut is None:
            cut, far = socketpair()
            far.close()
        os.dup2(cut.fileno(), fd, inheritable=os.get_inheritable(fd))
    if cut is not None:
        cut.close()


@contextlib.contextmanager
def _without_default_timeout() -> Iterator[None]:
    """With a default timeout set by a module, wrapping a socket would make it non-blocking in every process that shares it."""
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
