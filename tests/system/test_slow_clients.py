"""Clients that do nothing, or little at a time, stop nobody else."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from tests.support.front import GET, read_answer
from tests.support.system import Jobyard

DRIPPING = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"


def test_five_hundred_idle_clients_and_a_hundred_slow_ones_stop_nobody_and_hold_up_no_stop(tmp_path: Path) -> None:
    clients: list[socket.socket] = []
    with Jobyard(tmp_path, SCHEDULERS=1, WATCHERS=1, WORKERS=1) as jobyard:

        def connect(sent: bytes) -> socket.socket:
            clients.append(socket.create_connection(("127.0.0.1", jobyard.port()), timeout=10))
            clients[-1].sendall(sent)
            return clients[-1]

        kept = [connect(GET.replace(b"/a", b"/openapi.json")) for _ in range(300)]
        answered = [len(read_answer(client)) > 1000 for client in kept]
        silent = [connect(b"") for _ in range(200)]
        slow = [connect(DRIPPING) for _ in range(200)]
        waits_s = []
        for _ in range(20):
            for client in slow:
                client.sendall(b" ")
            began = time.monotonic()
            jobyard.wait_for_job(jobyard.submit("quick"))
            waits_s.append(time.monotonic() - began)
        began = time.monotonic()
        jobyard.stop()
        stop_s = time.monotonic() - began

    for client in clients:
        client.close()
    assert (answered, len(silent)) == ([True] * 300, 200)
    assert max(waits_s) < 2
    assert stop_s < 8
