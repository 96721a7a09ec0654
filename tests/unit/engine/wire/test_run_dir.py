"""The folder of sockets: private, replaceable, reachable below any path."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobyard.engine.wire.run_dir import MAX_PATH_BYTES, RunDir


def made(folder: Path) -> RunDir:
    run_dir = RunDir(folder)
    run_dir.make()
    return run_dir


@contextmanager
def bound(run_dir: RunDir, name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        run_dir.bind(sock, name)
        sock.listen()
        yield sock


def can_connect(run_dir: RunDir, name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(run_dir.path_of(name)) == 0


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_without_a_free_descriptor_no_component_is_known(tmp_path: Path) -> None:
    """A scheduler that only wanted to wake a watcher must not end for that."""
    run_dir = made(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    with bound(run_dir, "watcher-9001.sock"):
        before = run_dir.components("watcher")
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            without = run_dir.components("watcher")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert (before, without) == (["watcher-9001"], [])


def test_the_folder_is_private_also_when_it_was_not(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)

    run_dir = made(tmp_path)

    assert mode(run_dir.path) == 0o700


def test_a_socket_is_private_whatever_the_umask(tmp_path: Path) -> None:
    run_dir = made(tmp_path)
    umask = os.umask(0)
    try:
        with bound(run_dir, "queue-6000.sock"):
            seen = mode(run_dir.path / "queue-6000.sock"), os.umask(0)
    finally:
        os.umask(umask)

    assert seen == (0o600, 0)


def test_a_dead_predecessors_name_is_taken_over(tmp_path: Path) -> None:
    run_dir = made(tmp_path)
    with bound(run_dir, "queue-6000.sock"):
        pass
    dead = can_connect(run_dir, "queue-6000.sock")

    with bound(run_dir, "queue-6000.sock"):
        assert (dead, can_connect(run_dir, "queue-6000.sock")) == (False, True)


@pytest.mark.parametrize("length", [MAX_PATH_BYTES, MAX_PATH_BYTES + 1, 300])
def test_a_long_path_is_reached_all_the_same(tmp_path: Path, length: int) -> None:
    name = "watcher-9001.hints"
    missing = length - len(os.fsencode(tmp_path / "run" / name)) - 1
    folder = tmp_path
    while missing > 0:
        folder = folder / ("é" * 20 + "d" * 60)[: max(1, min(missing, 60))]
        missing = length - len(os.fsencode(folder / "run" / name)) - 1
    run_dir = made(folder)

    with bound(run_dir, name):
        assert can_connect(run_dir, name)
        assert can_connect(RunDir(folder), name)
    assert (folder / "run" / name).is_socket()


def test_components_are_named_by_their_sockets_in_order(tmp_path: Path) -> None:
    run_dir = made(tmp_path)
    for name in ("watcher-9002", "watcher-9001", "queue-6000"):
        (run_dir.path / f"{name}.sock").touch()
        (run_dir.path / f"{name}.hints").touch()
    (run_dir.path / "b00t.lock").touch()

    assert run_dir.components("watcher") == ["watcher-9001", "watcher-9002"]
    assert run_dir.components() == ["queue-6000", "watcher-9001", "watcher-9002"]
    assert run_dir.components("worker") == []


def test_who_has_left_for_good_is_no_component_any_more(tmp_path: Path) -> None:
    run_dir = made(tmp_path)
    (run_dir.path / "queue-6000.sock").touch()

    run_dir.remove("queue-6000")
    run_dir.remove("queue-6000")

    assert run_dir.components() == []
