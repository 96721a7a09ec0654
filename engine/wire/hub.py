"""A role's message I/O: one selector over all its sockets, without threads and without blocking.

`Hub.poll` returns what has arrived since the last iteration as a list of envelopes, so that a role handles all of it at once (one
commit, one reply each). A peer that sends a damaged frame, or never reads what it is sent, is disconnected; the role receives
`Closed` once for it. Only processes with access to `RunDir` (mode 0700) can reach these sockets.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged, Unframer, decode, encode, frame
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Closed, Ready
from jobyard.engine.wire.run_dir import RunDir

READ_BYTES = 1 << 18
READS_A_TURN = 16
MAX_UNSENT_BYTES = 96 << 20
BACKLOG = 512


class Peer(Protocol):
    """The remote end of a stream."""

    def send(self, message: Message) -> bool:
        """Send without waiting; False if the peer is gone (a `Closed` follows or has arrived).

        Raises `Damaged`, having sent nothing, if the message is too large for a frame.
        """

    def close(self) -> None:
        """Close the connection; no `Closed` follows."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message and its sender (None for a hint)."""

    peer: Peer | None
    message: Message


class Network(Protocol):
    """What a role needs from the hub; tests provide one without sockets."""

    def connect(self, address: str) -> Peer | None:
        """A stream to the component that listens under this name; None if none does."""

    def hint(self, address: str, message: Message) -> None:
        """Send a datagram to the component with this name; it is lost if the component does not listen or has fallen behind."""

    def adopt(self, sock: socket.socket, max_bytes: int | None = None, decoder: Callable[[bytes], Message] = decode) -> Peer:
        """Serve a socket that is already connected, such as one end of a pair; a frame over `max_bytes` closes the connection."""

    def watch(self, fd: int) -> None:
        """Deliver `Ready` on every iteration in which the descriptor is readable."""

    def forget(self, fd: int) -> None:
        """Stop watching the descriptor."""


class Mailbox(Network, Protocol):
    """What a loop other than the hub's own needs in addition."""

    def poll(self, timeout_s: float) -> list[Envelope]:
        """See `Hub`."""

    def fileno(self) -> int:
        """See `Hub`."""


class Stream:
    """A connected socket in a hub."""

    def __init__(self, hub: Hub, sock: socket.socket, max_bytes: int | None, decoder: Callable[[bytes], Message]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._hub = hub
        self._unframer = Unframer(max_bytes or MAX_FRAME_BYTES, decoder)
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self.open = True

    def send(self, message: Message) -> bool:
        """See `Peer`."""
        if not self.open:
            return False
        data = memoryview(frame(message))
        if not self._unsent:
            data = data[self._try_send(data) :]
        if len(data) and self.open:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
            if self._unsent_bytes > MAX_UNSENT_BYTES:
                self._hub.lose(self)
            elif len(self._unsent) == 1:
                self._hub.await_writable(self, True)
        return self.open

    def close(self) -> None:
        """See `Peer`."""
        self._hub.drop(self)

    def flush(self) -> None:
        """Send what could not be sent before."""
        while self._unsent and self.open:
            sent = self._try_send(self._unsent[0])
            self._unsent_bytes -= sent
            if sent < len(self._unsent[0]):
                self._unsent[0] = self._unsent[0][sent:]
                return
            self._unsent.popleft()
        if self.open:
            self._hub.await_writable(self, False)

    def receive(self) -> Iterator[Message]:
        """Every complete message that has arrived; then raises `Damaged` or an `OSError` if no more can arrive."""
        for _ in range(READS_A_TURN):
            try:
                size = self.sock.recv_into(self._hub.came)
            except BlockingIOError:
                return
            if not size:
                raise ConnectionResetError("the peer closed the connection")
            yield from self._unframer.feed(self._hub.came[:size])
            if size < READ_BYTES:
                return

    def _try_send(self, data: memoryview) -> int:
        try:
            return self.sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self._hub.lose(self)
            return 0


class Hub:
    """All sockets of one process."""

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._selector = selectors.DefaultSelector()
        self._streams: set[Stream] = set()
        self._listeners: list[socket.socket] = []
        self._hints: socket.socket | None = None
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._lost: list[Stream] = []
        self.came = memoryview(bytearray(READ_BYTES))
        """The read buffer of all streams; allocating one per read would cost a system call each time."""

    def listen(self, name: str) -> None:
        """Accept connections and hints under this name."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._run_dir.bind(listener, f"{name}.sock")
        listener.listen(BACKLOG)
        listener.setblocking(False)
        self._listeners.append(listener)
        self._selector.register(listener, selectors.EVENT_READ, "accept")
        self._hints = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._run_dir.bind(self._hints, f"{name}.hints")
        self._hints.setblocking(False)
        self._selector.register(self._hints, selectors.EVENT_READ, "hint")

    def connect(self, address: str) -> Stream | None:
        """See `Network`."""
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # no descriptor is free: like a component that is not there, it is tried again
            return None
        try:
            sock.connect(self._run_dir.path_of(f"{address}.sock"))
        except OSError:
            sock.close()
            return None
        return self.adopt(sock)

    def adopt(self, sock: socket.socket, max_bytes: int | None = None, decoder: Callable[[bytes], Message] = decode) -> Stream:
        """See `Network`."""
        stream = Stream(self, sock, max_bytes, decoder)
        self._streams.add(stream)
        self._selector.register(sock, selectors.EVENT_READ, stream)
        return stream

    def hint(self, address: str, message: Message) -> None:
        """See `Network`."""
        with contextlib.suppress(OSError):
            self._out.sendto(encode(message), self._run_dir.path_of(f"{address}.hints"))

    def watch(self, fd: int) -> None:
        """See `Network`."""
        self._selector.register(fd, selectors.EVENT_READ, "ready")

    def forget(self, fd: int) -> None:
        """See `Network`."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def fileno(self) -> int:
        """A descriptor that is readable when `poll` has work, so that a hub can be part of another event loop."""
        return self._selector.fileno()

    def poll(self, timeout_s: float) -> list[Envelope]:
        """What has arrived; if nothing has, waits at most `timeout_s` for it."""
        envelopes: list[Envelope] = []
        for key, events in self._selector.select(0 if self._lost else max(0.0, timeout_s)):
            if isinstance(key.data, Stream):
                self._serve(key.data, events, envelopes)
            elif key.data == "accept":
                self._accept(key.fileobj)  # type: ignore[arg-type]
            elif key.data == "hint":
                self._read_hints(envelopes)
            else:
                envelopes.append(Envelope(None, Ready(fd=key.fd)))
        lost, self._lost = self._lost, []
        return envelopes + [Envelope(stream, Closed()) for stream in lost]

    def lose(self, stream: Stream) -> None:
        """The peer is gone or broke the protocol: close the stream and deliver `Closed` on the next iteration."""
        if stream.open:
            self.drop(stream)
            self._lost.append(stream)

    def drop(self, stream: Stream) -> None:
        """Close a stream without delivering `Closed`."""
        if stream.open:
            stream.open = False
            self._streams.discard(stream)
            self._selector.unregister(stream.sock)
            stream.sock.close()

    def await_writable(self, stream: Stream, wanted: bool) -> None:
        """Whether the hub should flush the stream once its peer reads again."""
        self._selector.modify(stream.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0), stream)

    def close(self) -> None:
        """Close every socket; the socket files remain until a successor binds them."""
        for stream in list(self._streams):
            self.drop(stream)
        for sock in (*self._listeners, self._hints, self._out):
            if sock is not None:
                sock.close()
        self._selector.close()

    def _serve(self, stream: Stream, events: int, envelopes: list[Envelope]) -> None:
        if events & selectors.EVENT_WRITE:
            stream.flush()
        if not (events & selectors.EVENT_READ and stream.open):
            return
        try:
            for message in stream.receive():
                envelopes.append(Envelope(stream, message))
        except (OSError, Damaged):
            self.lose(stream)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.adopt(sock)

    def _read_hints(self, envelopes: list[Envelope]) -> None:
        assert self._hints is not None
        for _ in range(1000):
            try:
                envelopes.append(Envelope(None, decode(self._hints.recv(1 << 16))))
            except BlockingIOError:
                return
            except Damaged:
                continue
