"""What executors leave behind, told from the processes of task modules; in a forked process, which adopts the orphans."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobyard.engine.process_control import adopt_orphans, forbid_new_privileges
from jobyard.engine.template.leftovers import Leftovers
from jobyard.engine.world import World
from tests.support.notes import is_alive
from tests.support.waiting import wait_for

SLEEP = ("sleep", "600")
SLEEP_APART = ("setsid", "sleep", "600")


def leave(*started: tuple[str, ...], note: Path, is_executor: bool) -> None:
    """Fork a process that starts these, writes down their pids, and exits."""
    world = World()

    def run() -> int:
        os.setsid()
        if is_executor:
            forbid_new_privileges()
            Path("/proc/self/oom_score_adj").write_text("500")
        note.write_text(" ".join(str(subprocess.Popen(words).pid) for words in started))
        return 0

    world.wait(world.fork(run))


def pids_in(note: Path) -> list[int]:
    return [int(pid) for pid in note.read_text().split()]


@pytest.mark.parametrize("is_restricted", [False, True])
def test_descendants_of_executors_are_killed_and_those_of_task_modules_are_not(tmp_path: Path, is_restricted: bool) -> None:
    world = World()

    def template() -> int:
        adopt_orphans()
        if is_restricted:
            forbid_new_privileges()
        (tmp_path / "import").write_text(str(subprocess.Popen(SLEEP).pid))
        leftovers = Leftovers(world)
        (tmp_path / "thread").write_text(str(subprocess.Popen(SLEEP_APART).pid))
        leave(SLEEP, note=tmp_path / "module", is_executor=False)
        leave(SLEEP, SLEEP_APART, note=tmp_path / "task", is_executor=True)
        living = world.fork(lambda: leave_nothing())
        wait_for(lambda: not leftovers.kill({living}), told="the end of the leftovers")
        kept = [*(pid for name in ("import", "thread", "module") for pid in pids_in(tmp_path / name)), living]
        alive = [is_alive(pid) for pid in kept], [is_alive(pid) for pid in pids_in(tmp_path / "task")]
        for pid in kept:
            world.kill(pid, 9)
        (tmp_path / "told").write_text(repr(alive))
        return 0

    assert world.wait(world.fork(template)) == 0
    assert (tmp_path / "told").read_text() == repr(([True] * 4, [False] * 2))


def leave_nothing() -> int:
    forbid_new_privileges()
    os.execvp(SLEEP[0], SLEEP)
