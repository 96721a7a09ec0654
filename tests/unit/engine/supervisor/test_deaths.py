"""Proofs of death; the locks are real."""

from __future__ import annotations

import os
from pathlib import Path

from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.wire.run_dir import RunDir

WORKER = "box:0ld:worker-7001:1"


def deaths_of(path: Path, boot: str, *, foreign_hosts: bool = False) -> ProofsOfDeath:
    run_dir = RunDir(path)
    run_dir.make()
    return ProofsOfDeath(run_dir, boot=boot, foreign_hosts=foreign_hosts)


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


def test_a_lock_lives_as_long_as_the_last_child_that_inherited_it(tmp_path: Path) -> None:
    old, new = deaths_of(tmp_path, "0ld"), deaths_of(tmp_path, "new")
    fd = old.hold()
    go_on, let_go = os.pipe()
    child = os.fork()
    if not child:
        os.close(let_go)
        os.read(go_on, 1)
        os._exit(0)
    os.close(fd)
    while_the_child_lives = new.proven([WORKER]), new.others_live()

    os.close(let_go)
    os.waitpid(child, 0)
    os.close(go_on)

    assert while_the_child_lives == ([], True)
    assert (new.proven([WORKER]), new.others_live()) == ([WORKER], False)


def test_a_record_that_was_cut_short_by_a_full_disk_hides_no_later_one(tmp_path: Path) -> None:
    deaths = deaths_of(tmp_path, "0ld")
    fd = deaths.hold()
    (tmp_path / "run" / "0ld.dead").write_text(f"box:0ld:worker-7002:1\n{WORKER[:-2]}")
    before = deaths.proven([WORKER])

    deaths.record(WORKER)
    os.close(fd)

    assert before == []
    assert deaths.proven([WORKER, "box:0ld:worker-7002:1"]) == [WORKER, "box:0ld:worker-7002:1"]


def test_what_is_recorded_later_is_seen_too(tmp_path: Path) -> None:
    deaths = deaths_of(tmp_path, "0ld")
    for generation in range(1, 4):
        deaths.record(f"box:0ld:worker-7001:{generation}")

        assert len(deaths.proven(f"box:0ld:worker-7001:{number}" for number in range(1, 9))) == generation
