"""The control process: permitted calls, authentication, and robustness against clients."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import stat
import tempfile
import threading
from multiprocessing import connection
from pathlib import Path

import pytest

from jobyard.engine.control.client import Control, ControlAway
from jobyard.engine.control.protocol import EXPOSED, KEY, OVERVIEW, SOCKET, read_key
from tests.support.asleep import LOOKS, times_asleep
from tests.support.control_process import ControlProcess
from tests.support.waiting import LIMIT_S, wait_for

COUNTERS = {f"jobs_{number}_total": number * 12345 for number in range(40)}


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def raw(control: ControlProcess) -> connection.Connection:
    """An authenticated connection, such as any task of the same user could open."""
    conn = connection.Client(control.run_dir.path_of(SOCKET), family="AF_UNIX", authkey=read_key(control.run_dir))
    assert isinstance(conn, connection.Connection)
    return conn


def said(conn: connection.Connection, request: bytes) -> str:
    conn.send_bytes(request)
    return conn.recv_bytes().decode()


def test_socket_and_key_are_accessible_to_the_user_only(control: ControlProcess) -> None:
    modes = [stat.S_IMODE((control.run_dir.path / name).stat().st_mode) for name in (SOCKET, KEY)]

    assert modes == [0o600, 0o600]


def test_a_pickle_is_never_loaded(control: ControlProcess, tmp_path: Path) -> None:
    with raw(control) as conn:
        first = said(conn, pickle.dumps(Exploit(tmp_path / "owned")))
    with raw(control) as conn:
        said(conn, json.dumps([None, "accept_connection", ["x"], {}]).encode())
        later = said(conn, pickle.dumps(Exploit(tmp_path / "owned")))

    assert "#TRACEBACK" in first and "#TRACEBACK" in later
    assert not (tmp_path / "owned").exists()
    assert control.answers(control.client(deadline_s=LIMIT_S))


@pytest.mark.parametrize("method", ["shutdown", "create", "debug_info", "number_of_objects", "incref", "decref", "get_methods"])
def test_other_methods_of_a_manager_cannot_be_called(control: ControlProcess, method: str) -> None:
    with raw(control) as conn:
        answer = said(conn, json.dumps([None, method, [], {}]).encode())

    assert "#TRACEBACK" in answer
    assert control.answers(control.client(deadline_s=LIMIT_S))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("counters", "__init__"), ("counters", "_of"), ("roster", "#GETVALUE"), ("roster", "__str__"), ("commands", "_note"),
        ("x", "y"),
    ],
)  # fmt: skip
def test_only_the_methods_that_are_exposed_can_be_called(control: ControlProcess, name: str, method: str) -> None:
    with pytest.raises(ControlAway, match="failed to execute the call"):
        control.client(deadline_s=LIMIT_S).call(name, method)


def test_every_exposed_method_is_there(control: ControlProcess) -> None:
    client = control.client(deadline_s=LIMIT_S)
    asked = {
        "write": ("s", []), "remove": ("s",), "publish": ("n", 1, 1.0, {}), "give": ("s", {"id": "1"}), "withdraw": ("s", "1"),
        "settle": ("1", True, "done"), "outcome": ("1",), "read": ([],),
    }  # fmt: skip

    for name, methods in EXPOSED.items():
        for method in methods:
            if method != "take":  # it waits for a command
                client.call(name, method, *([] if (name, method) == ("roster", "read") else asked[method]))


@pytest.mark.parametrize("request_", [b"", b"[]", b"{}", b"\xff", b'["counters"]', b'[["a"], "read", [], {}]', b"[1, 2, 3, 4]"])
def test_an_invalid_request_is_answered_and_affects_no_other_client(control: ControlProcess, request_: bytes) -> None:
    with raw(control) as conn:
        said(conn, json.dumps([None, "accept_connection", ["x"], {}]).encode())
        answer = said(conn, request_)

    assert "#TRACEBACK" in answer or "#ERROR" in answer
    assert control.answers(control.client(deadline_s=LIMIT_S))


def test_without_descriptors_it_does_not_spin_and_serves_existing_clients(tmp_path: Path) -> None:
    control = ControlProcess(tmp_path).start(descriptors=24)
    client = control.client()
    assert control.answers(client)
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    try:
        for sock in crowd:
            sock.connect(control.run_dir.path_of(SOCKET))
        wait_for(lambda: len(os.listdir(f"/proc/{control.pid}/fd")) >= 24, told="all descriptors taken")
        calls = sum(control.answers(client) for _ in range(200))
        beat_at = control.heartbeats.last_beat(0)
        wait_for(lambda: control.heartbeats.last_beat(0) >= beat_at + 0.5, told="heartbeats")

        assert calls == 200
        assert times_asleep(control.pid) > LOOKS / 2
    finally:
        for sock in crowd:
            sock.close()
        wait_for(lambda: control.answers(control.client()), told="an answer to a new client")
        control.close()


def test_a_silent_client_is_disconnected(control: ControlProcess) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(control.run_dir.path_of(SOCKET))

        came = b"".join(iter(lambda: sock.recv(4096), b""))

    assert b"#CHALLENGE#" in came


def test_publications_of_twelve_components_are_read_completely(control: ControlProcess) -> None:
    def publish(name: str) -> None:
        client = Control(control.run_dir, control.world, name=name, deadline_s=10.0)
        for _ in range(20):
            client.call("counters", "publish", name, 1, 1.0, {"latest": json.dumps(COUNTERS)})
        client.close()

    names = [f"worker-{7000 + number}" for number in range(12)]
    threads = [threading.Thread(target=publish, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)

    read = control.client(deadline_s=10.0).call(OVERVIEW, "read", ["latest"])["counters"]
    assert sorted(read) == names
    assert all(json.loads(one["parts"]["latest"]) == COUNTERS for one in read.values())


def test_the_successor_of_a_killed_process_has_a_new_key(control: ControlProcess) -> None:
    client, key = control.client(), read_key(control.run_dir)
    client.call("roster", "write", "supervisor", [{"name": "a"}])
    control.kill()

    control.start()

    assert client.call("roster", "read") == []
    assert read_key(control.run_dir) != key


def test_a_stop_removes_socket_and_key(control: ControlProcess) -> None:
    assert control.stop() == 0

    assert list(control.run_dir.path.iterdir()) == []


def test_it_works_in_a_folder_with_a_path_longer_than_a_socket_address() -> None:
    with tempfile.TemporaryDirectory() as folder:
        control = ControlProcess(Path(folder) / ("long" * 30) / ("longer" * 30)).start()

        assert control.answers(control.client())
        control.close()


def test_its_heartbeat_follows_a_call_to_itself(control: ControlProcess) -> None:
    first = control.heartbeats.last_beat(0)
    wait_for(lambda: control.heartbeats.last_beat(0) > first)

    control.stand_still()
    stopped = control.heartbeats.last_beat(0)
    control.signal(signal.SIGCONT)

    wait_for(lambda: control.heartbeats.last_beat(0) > stopped)
