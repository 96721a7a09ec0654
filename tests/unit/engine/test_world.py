"""The real world: clocks, ids, forks."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable

import pytest
from bson import ObjectId

from jobyard.engine.world import World, later_id
from tests.support.waiting import LIMIT_S, wait_for


def exit_status_of(main: Callable[[], int]) -> int:
    world = World()
    return world.wait(world.fork(main))


def test_now_is_aware_and_has_whole_milliseconds() -> None:
    now = World().now()

    assert now.utcoffset() is not None and not now.utcoffset()
    assert now.microsecond % 1000 == 0


def test_ids_are_object_ids_with_the_time_in_front() -> None:
    world = World()

    job_id = world.object_id()

    assert re.fullmatch("[0-9a-f]{24}", job_id)
    assert abs(ObjectId(job_id).generation_time.timestamp() - world.now().timestamp()) < 5


def test_no_id_is_given_twice_by_threads_or_processes() -> None:
    world = World()
    ids: list[str] = []

    def reserve() -> None:
        for _ in range(200):
            first = world.reserve_ids(10)
            ids.extend(later_id(first, number) for number in range(10))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    other = World()
    ids += [other.object_id() for _ in range(100)]

    assert len(set(ids)) == len(ids) == 8100


def test_a_later_id_wraps_its_counter_and_nothing_else() -> None:
    assert later_id("69541618f7d4e1295bffffff", 1) == "69541618f7d4e1295b000000"
    assert later_id("69541618f7d4e1295b000000", 0) == "69541618f7d4e1295b000000"


def test_a_child_has_chance_of_its_own() -> None:
    world = World()
    read_fd, write_fd = os.pipe()

    def tell() -> int:
        os.write(write_fd, f"{world.object_id()} {world.jitter(1)}".encode())
        return 0

    world.wait(world.fork(tell))
    theirs = os.read(read_fd, 1000).decode().split()
    os.close(read_fd)
    os.close(write_fd)

    assert theirs[0][8:18] != world.object_id()[8:18]
    assert theirs[1] != str(world.jitter(1))


def test_a_child_leaves_with_what_its_main_returns_or_says() -> None:
    def leave() -> int:
        raise SystemExit(3)

    def fall() -> int:
        os.close(2)  # the traceback is not of interest
        raise ValueError

    assert [exit_status_of(main) for main in (lambda: 0, lambda: 7, leave, fall)] == [0, 7, 3, 70]


def test_an_end_by_a_signal_is_a_negative_status() -> None:
    def die() -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert exit_status_of(die) == -signal.SIGKILL


def test_who_is_gone_cannot_be_killed_or_asked() -> None:
    world = World()
    pid = world.fork(lambda: 0)
    wait_for(lambda: world.state_of(pid) == "Z")
    was_listed = pid in world.children()
    world.wait(pid)

    assert was_listed
    assert not world.kill(pid, signal.SIGTERM)
    assert not world.kill_group(pid, signal.SIGTERM)
    assert (world.state_of(pid), world.group_of(pid), world.session_of(pid)) == ("", 0, 0)
    assert pid not in world.children()


def test_reaping_leaves_no_zombie_and_waits_for_nobody() -> None:
    def reap() -> int:
        """In a process that has no other children than these."""
        world = World()
        ended, living = world.fork(lambda: 5), world.fork(_wait_for_a_signal)
        reaped = wait_for(world.reap)
        world.kill(living, signal.SIGKILL)
        world.wait(living)
        return 0 if (reaped, world.reap()) == ([(ended, 5)], []) else 1

    assert exit_status_of(reap) == 0


def _wait_for_a_signal() -> int:
    signal.pause()
    return 0


@pytest.mark.parametrize("bits", [64, 128])
def test_a_token_is_random_hex_of_so_many_bits(bits: int) -> None:
    world = World()

    assert re.fullmatch(f"[0-9a-f]{{{bits // 4}}}", world.token(bits))
    assert world.token(bits) != world.token(bits)


def test_jitter_stays_within_its_bound() -> None:
    world = World()

    assert all(0 <= world.jitter(0.5) <= 0.5 for _ in range(1000))
