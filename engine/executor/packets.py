"""Packets: one socket packet holds one whole message, so exactly one of several readers receives it.

A message too large for a packet is sent in an anonymous file, whose descriptor accompanies a marker packet. Messages are bytes
here; `executor.messages` and `template.messages` define their contents. Standard library only: it also runs in the user's
interpreter.
"""

from __future__ import annotations

import array
import os
from collections.abc import Sequence
from socket import (
    AF_UNIX,
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)

MAX_PACKET_BYTES = 100_000
MAX_DESCRIPTORS = 8
IN_A_FILE = b"\0"
AT_ONCE = int(MSG_DONTWAIT | MSG_NOSIGNAL)
CLOSED_ON_EXEC, CLOSED_ON_EXEC_AT_ONCE = int(MSG_CMSG_CLOEXEC), int(MSG_CMSG_CLOEXEC | MSG_DONTWAIT)
"""Plain numbers: to combine the enum's members costs more than to receive a message."""
_RIGHTS_BYTES = CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)


def packet_pair() -> tuple[socket, socket]:
    """Two connected sockets."""
    return socketpair(AF_UNIX, SOCK_SEQPACKET)


def send_packet(sock: socket, data: bytes, fds: Sequence[int] = ()) -> bool:
    """Send without blocking, with these descriptors; False if the receiver's buffer is full."""
    try:
        if len(data) <= MAX_PACKET_BYTES:
            sock.sendmsg([data], _rights(fds), AT_ONCE) if fds else sock.send(data, AT_ONCE)
        else:
            _send_file(sock, data, fds)
    except BlockingIOError:
        return False
    return True


def receive_packet(sock: socket, *, wait: bool = True) -> bytes | None:
    """The next message, on a socket that carries no descriptors. None at the end, or if there is none and `wait` is False."""
    try:
        return receive_with_descriptors(sock, wait=wait)[0] or None
    except BlockingIOError:
        return None


def receive_with_descriptors(sock: socket, *, wait: bool = False) -> tuple[bytes, list[int]]:
    """The next message, empty at the end, and the descriptors sent with it. Raises `BlockingIOError` if there is none."""
    data, rights, _, _ = sock.recvmsg(MAX_PACKET_BYTES, _RIGHTS_BYTES, CLOSED_ON_EXEC if wait else CLOSED_ON_EXEC_AT_ONCE)
    if not rights:
        return data, []
    fds = [fd for _, _, right in rights for fd in array.array("i", right)]
    return (_read_file(fds.pop(0)), fds) if data == IN_A_FILE and fds else (data, fds)


def _rights(fds: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))]


def _send_file(sock: socket, data: bytes, fds: Sequence[int]) -> None:
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        sock.sendmsg([IN_A_FILE], _rights([fd, *fds]), AT_ONCE)
    finally:
        os.close(fd)


def _read_file(fd: int) -> bytes:
    with open(fd, "rb") as file:
        file.seek(0)
        return file.read()
