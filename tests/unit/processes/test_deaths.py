"""Proofs of death; the locks are real."""

from __future__ import annotations

import os
from pathlib import Path

from engine.processes.deaths import Deaths
from engine.wire.run_dir import RunDir

WORKER = "box:0ld:worker-7001:1"


def deaths_of(path: Path, boot: str, *, foreign_hosts: bool = False) -> Deaths:
    run_dir = RunDir(path)
    run_dir.make()
    return Deaths(run_dir, boot=boot, foreign_hosts=foreign_hosts)


def test_an_owner_of_a_living_boot_is_dead_once_it_is_recorded(tmp_path: Path) -> None:
    old, new = deaths_of(tmp_path, "0ld"), deaths_of(tmp_path, "new")
    old.hold()
    before = new.proven([WORKER])

    old.record(WORKER)

    assert before == []
    assert new.proven([WORKER, "box:0ld:worker-7001:2"]) == [WORKER]


def test_all_owners_of_a_boot_are_dead_when_the_last_holder_of_its_lock_is_gone(tmp_path: Path) -> None:
    old, new = deaths_of(tmp_path, "0ld"), deaths_of(tmp_path, "new")
    fd = old.hold()
    inherited = os.dup(fd)
    os.close(fd)
    while_one_lives = new.proven([WORKER])

    os.close(inherited)

    assert while_one_lives == []
    assert new.proven([WORKER]) == [WORKER]


def test_a_boot_without_a_file_is_gone_unless_it_may_live_on_another_host(tmp_path: Path) -> None:
    assert deaths_of(tmp_path, "new").proven([WORKER]) == [WORKER]
    assert deaths_of(tmp_path, "new", foreign_hosts=True).proven([WORKER]) == []


def test_nobody_proves_the_death_of_its_own_boot_by_its_lock(tmp_path: Path) -> None:
    assert deaths_of(tmp_path, "0ld").proven([WORKER]) == []


def test_files_of_boots_that_are_gone_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    gone, living, new = (deaths_of(tmp_path, boot) for boot in ("g0ne", "l1ve", "new"))
    os.close(gone.hold())
    gone.record(WORKER)
    living.hold()

    new.forget_old_boots()

    assert {path.name for path in (tmp_path / "run").iterdir()} == {"l1ve.lock"}
    assert new.others_live()
