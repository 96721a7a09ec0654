"""Heartbeats in shared memory."""

from __future__ import annotations

import os

from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.world import World
from tests.support.world import FakeWorld


def test_a_slot_has_its_own_last_beat() -> None:
    world, heartbeats = FakeWorld(), HeartbeatPage(2)

    heartbeats.slot(1, world).beat()

    assert (heartbeats.last_beat(0), heartbeats.last_beat(1)) == (0, world.monotonic())


def test_waiting_for_a_lock_is_shown_and_counts_as_a_heartbeat() -> None:
    world, heartbeats = FakeWorld(), HeartbeatPage(1)
    heartbeat = heartbeats.slot(0, world)

    heartbeat.waiting(True)
    while_waiting = (heartbeats.is_waiting(0), heartbeats.last_beat(0))
    heartbeat.waiting(False)

    assert while_waiting == (True, world.monotonic())
    assert not heartbeats.is_waiting(0)


def test_a_cleared_slot_has_no_heartbeat() -> None:
    world, heartbeats = FakeWorld(), HeartbeatPage(1)
    heartbeat = heartbeats.slot(0, world)
    heartbeat.beat()

    heartbeats.clear(0)

    assert (heartbeats.last_beat(0), heartbeat.has_begun()) == (0, False)


def test_a_slot_is_never_read_half_written() -> None:
    world, heartbeats = World(), HeartbeatPage(1)
    heartbeats.slot(0, world).beat()
    began = heartbeats.last_beat(0)
    pid = world.fork(lambda: beat_for_a_while(heartbeats, world))

    least = min(heartbeats.last_beat(0) for _ in range(200_000))

    world.kill(pid, 9)
    os.waitpid(pid, 0)
    assert least >= began


def beat_for_a_while(heartbeats: HeartbeatPage, world: World) -> int:
    heartbeat = heartbeats.slot(0, world)
    for _ in range(50_000_000):
        heartbeat.beat()
    return 0
