"""A TCP proxy that can stop forwarding, as a broken network does: connections stay open, but nothing gets through.

with Proxy(server_port) as proxy:
    proxy.freeze()      # what is sent now waits
    proxy.thaw()        # and arrives late
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from tests.support.waiting import LIMIT_S

CHUNK = 1 << 16
LOOK_S = 0.02


class Proxy:
    """One thread between clients of `port` and a server on the loopback address."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._other: dict[socket.socket, socket.socket] = {}
        self._flows = threading.Event()
        self._flows.set()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def freeze(self) -> None:
        """Forward nothing, and accept no connections."""
        self._flows.clear()

    def thaw(self) -> None:
        """Forward again, starting with what waited."""
        self._flows.set()

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._is_closed.set()
        self._flows.set()
        self._thread.join(LIMIT_S)
        for sock in (self._listener, *self._other):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            self._flows.wait()
            for key, _ in self._selector.select(LOOK_S):
                if not self._flows.is_set():
                    break
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._pass_on(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port), 1)
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            self._other[one] = other
            one.settimeout(5)
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, sock: socket.socket) -> None:
        if sock not in self._other:
            return
        data = b""
        with contextlib.suppress(OSError):
            data = sock.recv(CHUNK)
            if data:
                self._other[sock].sendall(data)
                return
        for end in (sock, self._other[sock]):
            self._selector.unregister(end)
            del self._other[end]
            end.close()
