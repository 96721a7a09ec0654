"""An executor's temporary folder: which folders are removed, and the path that tasks see."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.executor.temporary_folder import TemporaryFolder
from jobyard.engine.world import World

OTHER_NAMESPACE = "abc"


@pytest.fixture(autouse=True)
def _restored_default() -> Iterator[None]:
    before = tempfile.tempdir
    yield
    tempfile.tempdir = before


def test_a_folder_of_another_namespace_is_kept_as_long_as_it_is_locked(tmp_path: Path) -> None:
    living, dead = tmp_path / f"{OTHER_NAMESPACE}-4000001", tmp_path / f"{OTHER_NAMESPACE}-4000002"
    for folder in (living, dead):
        folder.mkdir()
    fd = os.open(living, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)

    TemporaryFolder(tmp_path, World()).create()

    assert (living.exists(), dead.exists()) == (True, False)
    os.close(fd)


def test_another_namespace_sees_the_folder_of_an_executor_as_locked(tmp_path: Path) -> None:
    folder = TemporaryFolder(tmp_path, World())
    folder.create()
    fd = os.open(folder.path, os.O_RDONLY)

    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    os.close(fd)


def test_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    mine = TemporaryFolder(tmp_path, World())
    dead = mine.path.with_name(mine.path.name.replace(str(os.getpid()), "4000003"))
    for folder in (dead, tmp_path / "4000004"):
        folder.mkdir()

    mine.create()

    assert [path.name for path in tmp_path.iterdir()] == [mine.path.name]


@pytest.mark.parametrize("is_removed", [False, True])
def test_below_a_long_path_sockets_can_be_created_after_every_job(tmp_path: Path, is_removed: bool) -> None:
    folder = TemporaryFolder(tmp_path / ("long" * 20), World())
    folder.create()
    for _ in range(3):
        (folder.path / "left").mkdir()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.join(tempfile.mkdtemp(), "listener-01234567"))
        if is_removed:
            folder.remove()

        folder.empty()

        assert os.listdir(folder.visible_path) == os.listdir(folder.path) == []
    folder.remove()
    assert not folder.path.exists()
