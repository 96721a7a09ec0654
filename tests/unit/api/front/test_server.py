"""The settings of the front that depend on the machine."""

from __future__ import annotations

from pathlib import Path

from jobyard.api.front.server import heartbeat_folder


def test_the_heartbeat_file_is_in_memory_or_below_the_data_folder(tmp_path: Path) -> None:
    memory = tmp_path / "memory"

    without = heartbeat_folder(tmp_path, str(memory))
    memory.mkdir()

    assert (without, heartbeat_folder(tmp_path, str(memory))) == (str(tmp_path), str(memory))
