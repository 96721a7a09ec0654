"""What may stand where the database file should be, and that nothing which is refused is touched."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from jobyard.engine.errors import CannotStart
from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.store.sqlite.file import SMALL_BYTES, VERSION, examine_file, prepare_file
from jobyard.engine.store.sqlite.statements import split_script
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.disks import fill, read_only, small_disk
from tests.unit.engine.store.conftest import Open, Stranger, die_at_once, foreign, in_another_process

PAGE_BYTES = 4096
FIRST_SCHEMA, SECOND_SCHEMA = (Path(__file__).with_name(f"schema_{version}.sql") for version in (1, 2))


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder and holds something; our lock and the shared memory do not."""
    kept = (path for path in folder.iterdir() if path.is_file() and not path.name.endswith(("-lock", "-shm")))
    return {path.name: path.read_bytes() for path in kept if path.stat().st_size}


def refusal(path: Path) -> str:
    """Why this file is refused, in one line that names it; nothing is changed by it."""
    before, mode = files(path.parent), path.stat().st_mode

    with pytest.raises(CannotStart) as refused:
        prepare_file(path)

    assert (files(path.parent), path.stat().st_mode) == (before, mode)
    assert str(path) in refused.value.message and "\n" not in refused.value.message
    return refused.value.message


def overwrite(path: Path, *, at: int, with_what: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(with_what)


def jobs_of(open_store: Open) -> int:
    return sum(open_store().counts().values())


# ---- what is made


def test_a_new_file_is_made_for_us_alone(path: Path, open_store: Open) -> None:
    assert prepare_file(path).startswith("SQLite 3.")

    assert path.stat().st_mode & 0o777 == 0o600
    assert open_store().counts() == dict.fromkeys(Status, 0)


def test_what_is_stored_stands_after_another_start(made: Path, open_store: Open) -> None:
    open_store().insert([[a_job() for _ in range(3)]])

    prepare_file(made)

    assert jobs_of(open_store) == 3


def test_an_empty_file_is_made_a_database(path: Path) -> None:
    path.touch()

    prepare_file(path)

    assert path.stat().st_size > 0


@pytest.mark.parametrize("statement", ["PRAGMA journal_mode = WAL", "PRAGMA auto_vacuum = FULL", "PRAGMA user_version = 0"])
def test_a_file_whose_maker_was_killed_is_made_anew(path: Path, open_store: Open, statement: str) -> None:
    foreign(path, statement, "CREATE TABLE t (x)", "DROP TABLE t")

    prepare_file(path)

    assert jobs_of(open_store) == 0


def test_a_maker_who_is_killed_in_the_middle_leaves_nothing_half_made(path: Path, open_store: Open) -> None:
    def make_half() -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE jobs (x)")
        connection.execute("CREATE TABLE much AS SELECT zeroblob(1000000)")
        die_at_once()

    in_another_process(make_half)
    assert path.with_name("jobs.sqlite-journal").stat().st_size

    prepare_file(path)

    assert jobs_of(open_store) == 0


def test_a_start_does_not_wait_for_a_foreign_writer_when_nothing_is_to_be_done(made: Path) -> None:
    with Stranger(made, "BEGIN IMMEDIATE"):
        assert prepare_file(made).startswith("SQLite 3.")


# ---- what is refused


def test_another_programs_database_is_refused(path: Path) -> None:
    foreign(path, "CREATE TABLE theirs (x)")

    assert "belongs to another program: set DATA_DIR to another folder" in refusal(path)


def schema_of(path: Path) -> set[tuple[str, object]]:
    """What is in the file, each as it was made; of a table, its columns in any order, since an upgrade adds them at the end."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type != 'table'").fetchall()
        tables = connection.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL AND type = 'table'").fetchall()
        columns = {(name, frozenset(row[1:] for row in connection.execute(f"PRAGMA table_info({name})"))) for (name,) in tables}
        return {(name, " ".join(sql.split())) for name, sql in made} | columns


def test_an_older_database_is_brought_forward_with_all_that_is_in_it(path: Path, tmp_path: Path, open_store: Open) -> None:
    job_id = "aa" * 12
    script = FIRST_SCHEMA.read_text("utf-8").split(";")
    columns = "job_id, task, payload, queue, priority, status, scheduled_at, created_at, updated_at, attempt, epoch, lost_count"
    values = f"x'{job_id}', 'echo', x'31', 'default', 5, 'running', 1, 1, 1, 1, 2, 0"
    more = "retry_count, max_retries, timeout_s, last_run_at, locked_by"
    job = f"INSERT INTO jobs ({columns}, {more}) VALUES ({values}, 0, 5, 9, 1, 'w')"
    attempts = [
        f"INSERT INTO job_executions VALUES (x'{job_id}', {number}, 'w', '{status}', 1, NULL, NULL, NULL, NULL)"
        for number, status in ((0, "crashed"), (1, "running"))
    ]
    foreign(path, *script, job, *attempts, "UPDATE counts SET jobs = 1 WHERE status = 'running'", "PRAGMA user_version = 1")

    prepare_file(path)
    prepare_file(fresh := tmp_path / "fresh.sqlite")

    assert schema_of(path) == schema_of(fresh)
    store = open_store()
    assert store.counts()[Status.RUNNING] == 1
    assert [(row.attempt, str(row.status)) for row in store.executions(job_id)] == [(0, "crashed"), (1, "running")]


def test_the_jobs_of_the_version_before_are_brought_forward(path: Path, tmp_path: Path, open_store: Open) -> None:
    columns = "job_id, task, queue, priority, status, scheduled_at, created_at, updated_at, attempt, epoch, lost_count, retry_count"
    numbers = "WITH RECURSIVE numbers(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)"
    status = "CASE n % 2 WHEN 0 THEN 'pending' ELSE 'completed' END"
    values = f"randomblob(12), 'echo', 'default', 5, {status}, n, n, n, 0, 0, 0, 0, 5, 9, x'31'"
    job = f"INSERT INTO jobs ({columns}, max_retries, timeout_s, payload) {numbers} SELECT {values} FROM numbers"
    counted = ("UPDATE counts SET jobs = 500 WHERE status IN ('pending', 'completed')", "PRAGMA user_version = 2")
    foreign(path, *split_script(SECOND_SCHEMA.read_text("utf-8")), job, *counted)

    prepare_file(path)
    prepare_file(fresh := tmp_path / "fresh.sqlite")

    assert schema_of(path) == schema_of(fresh)
    store = open_store()
    assert (store.counts()[Status.PENDING], store.counts()[Status.BLOCKED]) == (500, 0)
    assert len(store.list_jobs(JobFilter(), limit=1000).jobs) == 1000
    assert len(claim(store)) == 500


def test_failures_of_the_version_before_are_grouped_like_new_ones(path: Path, open_store: Open) -> None:
    columns = "job_id, task, queue, priority, status, scheduled_at, created_at, updated_at, finished_at, attempt, epoch, lost_count"
    values = "randomblob(12), 'echo', 'default', 5, 'failed', 1, 1, 1, 1, 0, 0, 0, 0, 5, 9, x'31'"
    job = f"INSERT INTO jobs ({columns}, retry_count, max_retries, timeout_s, payload, error) VALUES ({values}, "
    script = split_script(SECOND_SCHEMA.read_text("utf-8"))
    foreign(path, *script, f"{job} 'no 7')", f"{job} 'no 8')", "PRAGMA user_version = 2")

    prepare_file(path)
    store = open_store()

    assert [(one.error_kind, one.count) for one in store.reports.failures()] == [("no", 2)]
    assert len(store.list_jobs(JobFilter(error_kind="no"), limit=9).jobs) == 2


@pytest.mark.parametrize("version", [VERSION, VERSION + 1])
def test_another_programs_database_is_not_known_by_its_version(path: Path, version: int) -> None:
    foreign(path, "CREATE TABLE jobs (x)", f"PRAGMA user_version = {version}")

    assert "belongs to another program" in refusal(path)


def test_a_newer_schema_is_refused_with_both_numbers(made: Path) -> None:
    foreign(made, f"PRAGMA user_version = {VERSION + 1}")

    assert f"(schema {VERSION + 1}, this one supports {VERSION}): upgrade" in refusal(made)


@pytest.mark.parametrize("text", ["x", "SQLite", "a shopping list\n" * 2000, "\0" * PAGE_BYTES])
def test_a_file_that_is_no_database_is_refused(path: Path, text: str) -> None:
    path.write_text(text)

    assert "is not a database: restore a backup, or move the file away" in refusal(path)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()

    with pytest.raises(CannotStart, match=r"jobs\.sqlite is not a file: move it away"):
        prepare_file(path)

    assert list(path.iterdir()) == []


def lose_the_header(path: Path) -> None:
    overwrite(path, at=0, with_what=b"\xa5" * 100)


def lose_a_page(path: Path) -> None:
    overwrite(path, at=path.stat().st_size // PAGE_BYTES // 2 * PAGE_BYTES, with_what=b"\xa5" * PAGE_BYTES)


def lose_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])


DAMAGES = (lose_the_header, lose_a_page, lose_the_end)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_left_as_it_is(made: Path, open_store: Open, damage: Callable[[Path], None]) -> None:
    open_store().insert([[a_job(payload=b'"' + b"x" * 3000 + b'"') for _ in range(100)]]), open_store.close()
    damage(made)

    told = refusal(made)

    assert "restore a backup, or move the file away" in told
    assert any(word in told for word in ("damaged", "malformed", "not a database"))


def test_the_log_of_a_damaged_file_is_left_as_it_is(made: Path, open_store: Open) -> None:
    """What a killed system committed last is only there."""
    open_store().insert([[a_job(payload=b'"' + b"x" * 3000 + b'"') for _ in range(100)]]), open_store.close()

    in_another_process(lambda: (open_store().insert([[a_job()]]), die_at_once()))
    lose_a_page(made)
    assert made.with_name("jobs.sqlite-wal").stat().st_size

    assert "restore a backup" in refusal(made)


@pytest.mark.parametrize("lose", [Path.unlink, Path.write_bytes], ids=["missing", "empty"])
def test_a_lost_file_whose_log_is_there_is_never_made_anew(
    made: Path, open_store: Open, lose: Callable[..., object]
) -> None:  # fmt: skip
    in_another_process(lambda: (open_store().insert([[a_job()]]), die_at_once()))
    lose(made, *([b""] if lose is Path.write_bytes else []))
    before = files(made.parent)

    with pytest.raises(CannotStart, match="is missing or empty, but its log jobs.sqlite-wal is not: restore a backup of both"):
        prepare_file(made)

    assert files(made.parent) == before and before["jobs.sqlite-wal"]


def test_of_a_large_file_what_every_process_needs_is_looked_at(made: Path, open_store: Open) -> None:
    open_store().insert([[a_job() for _ in range(1000)]]), open_store.close()
    with contextlib.closing(sqlite3.connect(made)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'counts'").fetchone()
    overwrite(made, at=(root - 1) * PAGE_BYTES, with_what=b"\xa5" * PAGE_BYTES)
    overwrite(made, at=SMALL_BYTES, with_what=b"x")

    assert "malformed" in refusal(made)


def test_a_locked_file_is_told_as_such(made: Path) -> None:
    with Stranger(made, "PRAGMA locking_mode = EXCLUSIVE", "UPDATE counts SET jobs = 0"):
        with pytest.raises(CannotStart, match="is locked by another program: end that program first"):
            prepare_file(made, patience_s=0.1)


# ---- where it lies


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/ {tmp_path} {kind} rw 0 0\ntmpfs {tmp_path}/data/deeper tmpfs rw 0 0\n")

    with pytest.raises(CannotStart, match=rf"data is on a network file system \({kind}\).*use a local disk"):
        prepare_file(tmp_path / "data" / "jobs.sqlite", mounts=mounts)


def test_a_local_disk_below_a_network_file_system_is_good(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/ {tmp_path.parent} nfs rw 0 0\n/dev/vdb {tmp_path} ext4 rw 0 0\nserver:/ {tmp_path}x nfs rw 0 0\n")

    prepare_file(tmp_path / "jobs.sqlite", mounts=mounts)


def test_a_read_only_folder_is_told_with_its_name(made: Path) -> None:
    with read_only(made.parent), pytest.raises(CannotStart, match=rf"{made} cannot be opened: .*; check DATA_DIR and its perm"):
        prepare_file(made)


def test_a_missing_folder_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="nowhere/jobs.sqlite cannot be opened: No such file or directory"):
        prepare_file(tmp_path / "nowhere" / "jobs.sqlite")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_full_disk_is_told_as_such_and_harms_nothing(path: Path, open_store: Open, is_new: bool) -> None:
    with small_disk(path.parent, 2 << 20):
        if not is_new:
            prepare_file(path)
        fill(path.with_name("fill"))

        with pytest.raises(CannotStart, match="cannot be used: its disk is full; make room"):
            prepare_file(path)

        path.with_name("fill").unlink()
        prepare_file(path)
        assert open_store().counts() == dict.fromkeys(Status, 0)
        open_store.close()


# ---- examined


def test_an_examination_says_what_it_is_and_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jobyard.sqlite"

    assert "no database yet" in examine_file(path) and not list(tmp_path.iterdir())
    prepare_file(path)
    before = files(tmp_path)
    assert "fully checked" in examine_file(path)
    assert files(tmp_path) == before


def test_an_examination_refuses_what_a_start_refuses(tmp_path: Path) -> None:
    path = tmp_path / "jobyard.sqlite"
    path.write_bytes(b"x" * 100)

    with pytest.raises(CannotStart, match="is not a database"):
        examine_file(path)
