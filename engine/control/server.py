"""The control process: a multiprocessing manager whose weak points are closed.

- Messages are JSON, never pickle: a task of the same user may read the key, and a pickle would run its code in here.
- Objects have fixed names and no reference counts, so a client's death leaves nothing behind; only the methods of
  `protocol.EXPOSED` can be called, and no `shutdown`, `create` or `debug_info`.
- A client that connects and says nothing, or does not read its answers, loses its connection.
- Without a descriptor or a thread for a new connection it waits a moment; the original would spin, or accept nobody any more.
- It forks nothing. The main thread shows its sign of life after a call to itself over the socket, as any client would make it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from multiprocessing import connection, managers
from typing import Any

from jobyard.engine.control.client import Control, ControlAway
from jobyard.engine.control.protocol import (
    COMMANDS,
    COUNTERS,
    EXPOSED,
    KEY,
    MAX_BYTES,
    OVERVIEW,
    ROSTER,
    SOCKET,
    remove_names,
)
from jobyard.engine.control.shared import Commands, Counters, Overview, Roster
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

KEY_BITS = 256
HANDSHAKE_S = 2
SEND_S = 2
NO_ROOM_S = 0.05
BACKLOG = 128
SELF_CALL_S = 2.0
STACK_BYTES = 256 << 10
JSON = "json"


def serve(run_dir: RunDir, world: World, *, beat: Callable[[], None], is_to_stop: Callable[[], bool]) -> None:
    """Serve until `is_to_stop`, which waits a while before it says no; leaves no name behind."""
    os.umask(0o177)
    threading.stack_size(STACK_BYTES)
    key = world.token(KEY_BITS).encode()
    _write_key(run_dir, key)
    server = ControlServer(run_dir.path_of(SOCKET), key, shared_objects(world)).get_server()
    threading.Thread(target=server.accepter, daemon=True, name="accept").start()
    me = Control(run_dir, world, name="control", deadline_s=SELF_CALL_S)
    while True:
        with contextlib.suppress(ControlAway):
            me.call(OVERVIEW, "read", [])
            beat()
        if is_to_stop():
            break
    remove_names(run_dir)


def shared_objects(world: World) -> dict[str, object]:
    """By their names."""
    roster, counters = Roster(), Counters()
    overview, commands = Overview(roster, counters), Commands(world.monotonic)
    return {ROSTER: roster, COUNTERS: counters, OVERVIEW: overview, COMMANDS: commands}


def _write_key(run_dir: RunDir, key: bytes) -> None:
    """Whole or not at all. The socket of a predecessor that was killed goes first: so nobody takes our key to it."""
    new = run_dir.path / f"{KEY}.new"
    for path in (run_dir.path / SOCKET, new):
        path.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)
    new.replace(run_dir.path / KEY)


class ControlServer(managers.BaseManager):
    """The manager of these objects."""

    def __init__(self, address: str, key: bytes, shared: dict[str, object]) -> None:
        super().__init__(address, key, serializer=JSON)
        self._of = (address, key, shared)

    def get_server(self) -> SharedServer:
        """Bound to its address; `accepter` is the life of a thread of it."""
        return SharedServer(*self._of)


class SharedServer(managers.Server):
    """The manager's server, without all that nobody needs."""

    public = ["accept_connection", "dummy"]
    fallback_mapping: dict[str, Any] = {}  # nothing can be done with an object but to call it

    def __init__(self, address: str, key: bytes, shared: dict[str, object]) -> None:
        super().__init__({}, address, key, JSON)
        self.stop_event = threading.Event()
        self.id_to_obj = {name: (one, set(EXPOSED[name]), {}) for name, one in shared.items()}

    def accepter(self) -> None:
        """Called in a thread of its own; never returns."""
        while True:
            try:
                conn = self.listener.accept()  # type: ignore[attr-defined]
            except OSError:  # no descriptor is left for now
                self.stop_event.wait(NO_ROOM_S)
                continue
            try:
                threading.Thread(target=self.handle_request, args=(conn,), daemon=True).start()
            except RuntimeError:  # no thread
                conn.close()
                self.stop_event.wait(NO_ROOM_S)

    def serve_client(self, conn: JsonConnection) -> None:  # type: ignore[override]
        """From now on it may be silent for as long as it likes."""
        conn.set_deadlines(receive_s=0)
        super().serve_client(conn)  # type: ignore[arg-type]


class JsonListener:
    """Hands out connections that speak JSON."""

    def __init__(self, address: str, backlog: int) -> None:
        self.address = address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(address)
        self._sock.listen(max(backlog, BACKLOG))

    def accept(self) -> JsonConnection:
        """The next client."""
        sock, _ = self._sock.accept()
        return JsonConnection(sock)


class JsonConnection:
    """What a manager's server needs of a connection, with JSON in place of pickle, and deadlines kept by the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        self._connection = connection.Connection(sock.detach())
        self.send_bytes = self._connection.send_bytes
        self.recv_bytes = self._connection.recv_bytes
        self.close = self._connection.close
        self.set_deadlines(receive_s=HANDSHAKE_S)

    def set_deadlines(self, *, receive_s: int) -> None:
        """0 is none. To send there is always one."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", receive_s, 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))

    def send(self, said: object) -> None:
        """An exception becomes its text, where pickle would carry the object."""
        self.send_bytes(json.dumps(said, default=str, separators=(",", ":")).encode())

    def recv(self) -> Any:
        """The next request."""
        return json.loads(self.recv_bytes(MAX_BYTES))


def _no_client(address: str, authkey: bytes) -> connection.Connection:
    raise NotImplementedError("see control.client")


managers.listener_client[JSON] = (JsonListener, _no_client)  # type: ignore[attr-defined]
