"""Signs of life in shared memory."""

from __future__ import annotations

import os

from engine.processes.pulse import Pulse
from engine.world import World
from tests.support.world import FakeWorld


def test_a_slot_tells_the_last_beat_and_no_other_slots() -> None:
    world, pulse = FakeWorld(), Pulse(2)

    pulse.slot(1, world).beat()

    assert (pulse.last_beat(0), pulse.last_beat(1)) == (0, world.monotonic())


def test_who_waits_for_a_lock_says_so_and_lives() -> None:
    world, pulse = FakeWorld(), Pulse(1)
    heartbeat = pulse.slot(0, world)

    heartbeat.waiting(True)
    while_waiting = (pulse.is_waiting(0), pulse.last_beat(0))
    heartbeat.waiting(False)

    assert while_waiting == (True, world.monotonic())
    assert not pulse.is_waiting(0)


def test_a_cleared_slot_has_shown_nothing() -> None:
    world, pulse = FakeWorld(), Pulse(1)
    heartbeat = pulse.slot(0, world)
    heartbeat.beat()

    pulse.clear(0)

    assert (pulse.last_beat(0), heartbeat.has_begun()) == (0, False)


def test_nobody_ever_reads_a_slot_that_is_half_written() -> None:
    world, pulse = World(), Pulse(1)
    pulse.slot(0, world).beat()
    began = pulse.last_beat(0)
    pid = world.fork(lambda: beat_for_a_while(pulse, world))

    least = min(pulse.last_beat(0) for _ in range(200_000))

    world.kill(pid, 9)
    os.waitpid(pid, 0)
    assert least >= began


def beat_for_a_while(pulse: Pulse, world: World) -> int:
    heartbeat = pulse.slot(0, world)
    for _ in range(50_000_000):
        heartbeat.beat()
    return 0
