"""`bin/jobyard migrate` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mongo import a_database, any_server
from tests.support.system import CHECKOUT, Jobyard
from tests.support.waiting import LIMIT_S

SMALL = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1}


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[dict[str, str]]:
    with any_server(tmp_path / "mongo") as uri, a_database(uri) as name:
        yield {"MONGO_URI": uri, "MONGO_DB": name}


def migrate(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobyard", "migrate", *words], cwd=CHECKOUT, env=os.environ | environment, text=True,
        capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_a_system_moves_to_mongodb_and_back(tmp_path: Path, mongo: dict[str, str]) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    with Jobyard(tmp_path / "one", **SMALL) as first:
        done = first.submit({"a": [1.0, 2]})
        first.wait_for_job(done)
        later = first.submit("later", delay_s=3600, idempotency_key="k")
        before = first.get("/jobs").json
        database = str(first.data_dir / "jobyard.sqlite")
        while_it_runs = migrate(database, mongo["MONGO_URI"])

    there = migrate(database, "mongodb", "--mongo-db", mongo["MONGO_DB"], **mongo)
    with Jobyard(tmp_path / "two", **SMALL, **mongo, LEASE_S=10) as second:
        assert second.get("/jobs").json == before
        assert second.ask("POST", "/api/jobs/" + later + "/cancel").status == 200
        ran = second.submit("ran there")
        second.wait_for_job(ran)
        refused = migrate("mongodb", str(tmp_path / "back.sqlite"), "--mongo-db", mongo["MONGO_DB"], **mongo)
    back = migrate("mongodb", str(tmp_path / "three" / "data" / "jobyard.sqlite"), "--mongo-db", mongo["MONGO_DB"], **mongo)

    assert (while_it_runs.returncode, "in use by" in while_it_runs.stderr) == (2, True)
    assert (there.returncode, "2 jobs are in" in there.stdout) == (0, True), there
    assert (refused.returncode, "a Jobyard runs on the MongoDB" in refused.stderr) == (2, True), refused
    assert (back.returncode, "3 jobs are in" in back.stdout) == (0, True), back
    with Jobyard(tmp_path / "three", **SMALL) as third:
        assert {job["job_id"]: job["status"] for job in third.get("/jobs").json} == {
            done: "completed", later: "cancelled", ran: "completed",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nothing.sqlite", "mongodb://127.0.0.1:1/"), "there is no database at"),
        (("mongodb", "x.sqlite"), "MONGO_URI, which is not set"),
        (("redis://x", "x.sqlite"), "begins with mongodb://"),
        (("x.sqlite", "x.sqlite"), "are the same"),
        (("mongodb://u:s3cret@127.0.0.1:1/", "x.sqlite"), "no server answers"),
    ],
)
def test_an_impossible_migration_is_reported_in_one_line(words: tuple[str, str], expected: str, tmp_path: Path) -> None:
    source, target = (str(tmp_path / word) if word.endswith("sqlite") else word for word in words)

    done = migrate(source, target)

    assert (done.returncode, expected in done.stderr, done.stderr.count("\n")) == (2, True, 1)
    assert "s3cret" not in done.stderr + done.stdout
