"""Small and read-only disks, made by mounts; where mounting is not permitted, a test that needs one is skipped."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHUNK = bytes(4096)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Make the folder an empty disk of this size, which is removed with its contents afterwards."""
    folder.mkdir(exist_ok=True)
    with _mounted("-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder):
        yield


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make the folder read-only."""
    if os.geteuid():
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    with _mounted("--bind", folder, folder):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield


def fill(path: Path, *, leave: int = 0) -> None:
    """Fill the disk with a file, except for this many bytes."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(CHUNK)
    os.truncate(path, max(0, path.stat().st_size - leave))


@contextlib.contextmanager
def _mounted(*words: str | Path) -> Iterator[None]:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.partition(chr(10))[0]}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(words[-1])], check=True)
