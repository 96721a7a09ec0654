"""The locks of the data folder. A lock belongs to an open file, so two `DataDir`s in one process exclude each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.supervisor.data_dir import DataDir, Occupant
from tests.support.disks import fill, small_disk


def a_data_dir(path: Path) -> DataDir:
    data_dir = DataDir(path / "data")
    data_dir.make()
    return data_dir


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    a_data_dir(tmp_path)

    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "run").stat().st_mode & 0o777 == 0o700


def test_a_second_start_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    a_data_dir(tmp_path).take("start-all", alone=True)

    with pytest.raises(CannotStart, match=rf"in use by pid {os.getpid()} \(start-all\): stop it with bin/stop-all"):
        a_data_dir(tmp_path).take("start-all", alone=True)


def test_components_share_the_folder_but_not_a_name(tmp_path: Path) -> None:
    a_data_dir(tmp_path).take("worker-7001", alone=False)
    a_data_dir(tmp_path).take("worker-7002", alone=False)

    with pytest.raises(CannotStart, match="worker-7001"):
        a_data_dir(tmp_path).take("worker-7001", alone=False)


@pytest.mark.parametrize("first_is_alone", [True, False])
def test_start_all_and_single_components_exclude_each_other(tmp_path: Path, first_is_alone: bool) -> None:
    a_data_dir(tmp_path).take("first", alone=first_is_alone)

    with pytest.raises(CannotStart, match="first"):
        a_data_dir(tmp_path).take("second", alone=not first_is_alone)


def test_a_refused_start_holds_no_lock(tmp_path: Path) -> None:
    first, refused, third = (a_data_dir(tmp_path) for _ in range(3))
    first.take("worker-7001", alone=False)
    with pytest.raises(CannotStart):
        refused.take("worker-7001", alone=False)

    first.release()
    third.take("start-all", alone=True)

    assert third.is_taken and not refused.is_taken


def test_occupants_are_the_running_starts(tmp_path: Path) -> None:
    first, second = a_data_dir(tmp_path), a_data_dir(tmp_path)
    first.take("queue-6000", alone=False)
    (first.run_dir.path / "worker-7001.pid").write_text("1\n")

    occupants = second.occupants()

    assert occupants == [Occupant(who="queue-6000", pid=os.getpid())]
    assert second.is_occupied_by(occupants[0])


def test_release_leaves_no_pid_file_and_no_occupant(tmp_path: Path) -> None:
    data_dir = a_data_dir(tmp_path)
    data_dir.take("start-all", alone=True)

    data_dir.release()

    assert not list(data_dir.run_dir.path.iterdir())
    assert data_dir.occupants() == []


def test_leftover_files_are_removed_once_the_folder_is_held_exclusively(tmp_path: Path) -> None:
    data_dir = a_data_dir(tmp_path)
    for name in ("worker-7009.sock", "worker-7009.hints", "start.pid", "b00t.lock"):
        (data_dir.run_dir.path / name).touch()

    data_dir.take("start-all", alone=True)

    assert {path.name for path in data_dir.run_dir.path.iterdir()} == {"start-all.pid", "b00t.lock"}


def test_an_unusable_folder_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(CannotStart, match="cannot be written .* set DATA_DIR to one that is"):
        DataDir(tmp_path / "data").make()


def test_a_full_disk_is_reported_and_leaves_no_pid_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", 1 << 20):
        data_dir = a_data_dir(tmp_path)
        fill(tmp_path / "data" / "fill")

        with pytest.raises(CannotStart, match=r"cannot be written \(No space left on device\): make room"):
            data_dir.take("start-all", alone=True)

        assert not data_dir.is_taken
        assert list((tmp_path / "data" / "run").iterdir()) == []
        (tmp_path / "data" / "fill").unlink()
        a_data_dir(tmp_path).take("start-all", alone=True)
