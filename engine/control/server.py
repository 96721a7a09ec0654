"""The control process: a multiprocessing manager, hardened.

- Messages are JSON, never pickle: a task of the same user can read the key, and unpickling would run its code here.
- Objects have fixed names and no reference counts, so a dead client leaves nothing behind. Only the methods in `protocol.EXPOSED`
  can be called; `shutdown`, `create` and `debug_info` cannot.
- A client that connects and stays silent, or does not read its answers, is disconnected.
- When descriptors or threads run out, the server pauses; the original would spin, or stop accepting for good.
- It never forks. The main thread calls the server through its socket like any client, and sends a heartbeat if that worked.
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
    """Serve until `is_to_stop`, which waits before it returns False; removes the socket and the key at the end."""
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
    """The objects by name."""
    roster, counters = Roster(), Counters()
    overview, commands = Overview(roster, counters), Commands(world.monotonic)
    return {ROSTER: roster, COUNTERS: counters, OVERVIEW: overview, COMMANDS: commands}


def _write_key(run_dir: RunDir, key: bytes) -> None:
    """Atomically. The socket of a killed predecessor is removed first, so that no client uses the new key with it."""
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
    """The manager."""

    def __init__(self, address: str, key: bytes, shared: dict[str, object]) -> None:
        super().__init__(address, key, serializer=JSON)
        self._of = (address, key, shared)

    def get_server(self) -> SharedServer:
        """The server, bound to its address; run its `accepter` in a thread."""
        return SharedServer(*self._of)


class SharedServer(managers.Server):
    """The manager's server, reduced to the required methods."""

    public = ["accept_connection", "dummy"]
    fallback_mapping: dict[str, Any] = {}  # only the exposed methods of an object can be called

    def __init__(self, address: str, key: bytes, shared: dict[str, object]) -> None:
        super().__init__({}, address, key, JSON)
        self.stop_event = threading.Event()
        self.id_to_obj = {name: (one, set(EXPOSED[name]), {}) for name, one in shared.items()}

    def accepter(self) -> None:
        """The main function of a thread; never returns."""
        while True:
            try:
                conn = self.listener.accept()  # type: ignore[attr-defined]
            except OSError:  # out of descriptors
                self.stop_event.wait(NO_ROOM_S)
                continue
            try:
                threading.Thread(target=self.handle_request, args=(conn,), daemon=True).start()
            except RuntimeError:  # out of threads
                conn.close()
                self.stop_event.wait(NO_ROOM_S)

    def serve_client(self, conn: JsonConnection) -> None:  # type: ignore[override]
        """An authenticated client may be silent for any time."""
        conn.set_deadlines(receive_s=0)
        super().serve_client(conn)  # type: ignore[arg-type]


class JsonListener:
    """Accepts connections that use JSON."""

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
    """The interface that a manager's server expects of a connection, with JSON instead of pickle and deadlines in the kernel."""

    def __init__(self, sock: socket.socket) -> None:
        self._connection = connection.Connection(sock.detach())
        self.send_bytes = self._connection.send_bytes
        self.recv_bytes = self._connection.recv_bytes
        self.close = self._connection.close
        self.set_deadlines(receive_s=HANDSHAKE_S)

    def set_deadlines(self, *, receive_s: int) -> None:
        """0: no deadline for receiving. Sending always has one."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", receive_s, 0))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))

    def send(self, answer: object) -> None:
        """Send an answer; an exception is sent as its text."""
        self.send_bytes(json.dumps(answer, default=str, separators=(",", ":")).encode())

    def recv(self) -> Any:
        """The next request."""
        return json.loads(self.recv_bytes(MAX_BYTES))


def _no_client(address: str, authkey: bytes) -> connection.Connection:
    raise NotImplementedError("see control.client")


managers.listener_client[JSON] = (JsonListener, _no_client)  # type: ignore[attr-defined]
