"""A backup is the whole database at one moment, and never takes the place of anything."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.store.sqlite.backup import back_up
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.builders import a_job
from tests.unit.engine.store.conftest import Open, Stranger, in_another_process, recount


def restored(copy: Path) -> SqliteStore:
    prepare_file(copy)
    return SqliteStore(copy, durable=True, waiting=lambda waits: None)


def made_elsewhere(path: Path, target: Path, jobs: int) -> bool:
    """By another process, as an operator's command is."""
    return in_another_process(lambda: back_up(path, target) == jobs) == 0


def test_a_copy_of_a_database_in_use_holds_what_was_committed_and_not_yet_checkpointed(
    made: Path, open_store: Open, tmp_path: Path
) -> None:
    store, copy = open_store(), tmp_path / "copy.sqlite"
    jobs = [a_job(payload=b'"\xc3\xa4"') for _ in range(30)]
    store.insert([jobs])

    assert made_elsewhere(made, copy, 30)

    store.insert([[a_job()]])
    other = restored(copy)
    assert other.find([job.job_id for job in jobs]) == jobs
    assert other.counts() == recount(other)
    other.close()


def test_a_copy_is_for_us_alone_and_the_only_file_that_is_left(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()

    assert made_elsewhere(made, folder / "copy.sqlite", 0)

    [copy] = folder.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_what_somebody_is_about_to_commit_is_not_in_it_and_does_not_hold_it_up(made: Path, tmp_path: Path) -> None:
    change = "UPDATE counts SET jobs = 4711"
    with Stranger(made, "BEGIN IMMEDIATE", change):
        assert made_elsewhere(made, tmp_path / "copy.sqlite", 0)

    other = restored(tmp_path / "copy.sqlite")
    assert set(other.counts().values()) == {0}
    other.close()


def test_an_existing_file_is_never_replaced(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")

    with pytest.raises(CannotStart, match="already exists"):
        back_up(made, target)

    assert target.read_text() == "precious"


def test_a_damaged_database_gives_no_copy(made: Path, open_store: Open, tmp_path: Path) -> None:
    open_store().insert([[a_job(payload=b'"' + b"x" * 50_000 + b'"') for _ in range(20)]])
    open_store.close()
    with made.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(b"\xff" * 40 * 4096)

    with pytest.raises(CannotStart, match="damaged|cannot be copied"):
        back_up(made, tmp_path / "copy.sqlite")

    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("target", ["no/such/folder/copy", "data"])
def test_a_place_where_it_cannot_be_is_told(made: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(CannotStart, match="copied|already"):
        back_up(made, tmp_path / target)


def test_no_database_is_made_where_there_is_none(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="there is no database at"):
        back_up(path, tmp_path / "copy.sqlite")

    assert not path.exists()
