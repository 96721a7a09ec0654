"""One holder at a time, and none who is dead."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobyard.engine.store.sqlite.commit_lock import CommitLock
from jobyard.engine.world import World
from tests.support.waiting import wait_for

WORLD = World()
Make = Callable[..., CommitLock]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Opens the test's lock once more; a lock that is held when the test ends is held by nobody else then."""
    made: list[CommitLock] = []

    def make_one(waiting: Callable[[bool], None] = lambda waits: None) -> CommitLock:
        made.append(CommitLock(tmp_path / "lock", waiting))
        return made[-1]

    yield make_one
    for lock in made:
        lock.close()


def hold_for_ever(make: Make) -> int:
    """The pid of a process that has the lock and keeps it."""
    read_fd, write_fd = os.pipe()

    def hold() -> int:
        with make():
            os.write(write_fd, b"!")
            signal.pause()
        return 0

    pid = WORLD.fork(hold)
    os.close(write_fd)
    assert os.read(read_fd, 1) == b"!"
    os.close(read_fd)
    return pid


def take(make: Make, *, signs: Path) -> int:
    """The pid of a process that takes the lock, writes down what `waiting` is told, and leaves."""

    def take_it() -> int:
        with signs.open("a", buffering=1) as file, make(lambda waits: print(waits, file=file)):
            print("has it", file=file)
        return 0

    return WORLD.fork(take_it)


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_of_many_who_want_it_one_has_it_at_a_time(make: Make, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> int:
        lock = make()
        for _ in range(200):
            with lock:
                counter.write_text(str(int(counter.read_text()) + 1))
        return 0

    pids = [WORLD.fork(count) for _ in range(4)]

    assert [WORLD.wait(pid) for pid in pids] == [0] * 4
    assert counter.read_text() == "800"


def test_who_need_not_wait_tells_nobody(make: Make, tmp_path: Path) -> None:
    assert WORLD.wait(take(make, signs=tmp_path / "signs")) == 0

    assert text(tmp_path / "signs") == "has it\n"


def test_who_is_killed_while_he_holds_it_gives_it_to_the_next_at_once(make: Make, tmp_path: Path) -> None:
    signs = tmp_path / "signs"
    holder = hold_for_ever(make)
    next_one = take(make, signs=signs)
    wait_for(lambda: text(signs) == "True\n" and WORLD.state_of(next_one) == "S", told="somebody who waits")

    WORLD.kill(holder, signal.SIGKILL)

    assert WORLD.wait(next_one) == 0
    assert text(signs) == "True\nFalse\nhas it\n"
    WORLD.wait(holder)


def test_a_living_holder_keeps_it(make: Make, tmp_path: Path) -> None:
    holder = hold_for_ever(make)
    next_one = take(make, signs=tmp_path / "signs")
    wait_for(lambda: text(tmp_path / "signs") and WORLD.state_of(next_one) == "S", told="somebody who waits")

    WORLD.kill(holder, signal.SIGSTOP)
    wait_for(lambda: WORLD.state_of(holder) == "T")

    assert text(tmp_path / "signs") == "True\n"
    for pid in (holder, next_one):
        WORLD.kill(pid, signal.SIGKILL)
        WORLD.wait(pid)


def test_an_error_behind_it_lets_it_go(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), make():
        raise ZeroDivisionError

    assert WORLD.wait(take(make, signs=tmp_path / "signs")) == 0


def test_what_a_holder_found_is_told_to_the_next_ones_until_one_finds_something_else(make: Make) -> None:
    mine, yours = make(), make()
    assert not yours.was_in_vain()

    mine.tell_next(was_in_vain=True)
    assert (yours.was_in_vain(), make().was_in_vain()) == (True, True)

    yours.tell_next(was_in_vain=False)
    assert not mine.was_in_vain()


def test_nobody_else_may_read_it(make: Make, tmp_path: Path) -> None:
    make()

    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
