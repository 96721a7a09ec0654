"""Messages as packets: one socket packet holds one whole message, so that whoever reads it has it and nobody else.

A message too large for a packet travels in an anonymous file whose descriptor goes with an empty packet.
"""

from __future__ import annotations

import array
import os
import socket

from jobyard.engine.wire.frames import decode, encode
from jobyard.engine.wire.messages import Message

MAX_PACKET_BYTES = 100_000
IN_A_FILE = b"\0"
AT_ONCE = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
_RIGHTS_BYTES = socket.CMSG_SPACE(array.array("i").itemsize)


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send_packet(sock: socket.socket, message: Message) -> bool:
    """Send without waiting; False when the other end has too much unread."""
    data = encode(message)
    try:
        if len(data) <= MAX_PACKET_BYTES:
            sock.send(data, AT_ONCE)
        else:
            _send_file(sock, data)
    except BlockingIOError:
        return False
    return True


def receive_packet(sock: socket.socket, *, wait: bool = True) -> Message | None:
    """The next message; None at the end, or when there is none and `wait` is False."""
    try:
        data, rights, _, _ = sock.recvmsg(MAX_PACKET_BYTES, _RIGHTS_BYTES, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    if not data:
        return None
    return decode(_read_file(rights[0][2]) if rights else data)


def _send_file(sock: socket.socket, data: bytes) -> None:
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        socket.send_fds(sock, [IN_A_FILE], [fd], AT_ONCE)
    finally:
        os.close(fd)


def _read_file(right: bytes) -> bytes:
    fd = array.array("i", right)[0]
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()
