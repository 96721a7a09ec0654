"""Notifications to a service manager, according to the supervisor's heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.supervisor.readiness import (
    RETRY_S,
    NotifySocket,
    ReadinessNotifier,
    SupervisorHeartbeat,
    take_notify_socket,
)
from tests.support.manager import FakeManager, a_manager
from tests.support.world import FakeWorld

WATCHDOG_S = 8.0
PING_EVERY_S = 2.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[FakeManager]:
    with a_manager(tmp_path) as manager:
        yield manager


class Setup:
    """A notifier, and the supervisor's heartbeat, controlled by the test."""

    def __init__(self, address: str, *, watchdog_s: float | None = WATCHDOG_S) -> None:
        self.world = FakeWorld()
        self.heartbeat = SupervisorHeartbeat(self.world)
        self.notifier = ReadinessNotifier(NotifySocket(address=address, watchdog_s=watchdog_s), self.heartbeat, self.world)

    def pass_time(self, seconds: float, *, is_turning: bool) -> None:
        """Advance the clock in steps of half a second."""
        for _ in range(round(seconds * 2)):
            self.world.advance(0.5)
            if is_turning:
                self.heartbeat.tick.beat()
            self.notifier.update()


def test_readiness_is_sent_once_and_not_early(manager: FakeManager) -> None:
    spec = Setup(manager.address, watchdog_s=None)

    spec.notifier.update()
    told_before = list(manager.look())
    spec.heartbeat.ready.beat()
    next_look_s = [spec.notifier.update(), spec.notifier.update()]

    assert (told_before, manager.look()) == ([], ["READY=1"])
    assert next_look_s == [None, None]


def test_pings_are_sent_while_the_supervisor_ticks(manager: FakeManager) -> None:
    spec = Setup(manager.address)

    spec.pass_time(10 * PING_EVERY_S, is_turning=True)

    assert manager.look() == ["WATCHDOG=1"] * 10


def test_pings_stop_and_resume_with_the_supervisors_ticks(manager: FakeManager) -> None:
    spec = Setup(manager.address)
    spec.pass_time(PING_EVERY_S, is_turning=True)
    manager.look().clear()

    spec.pass_time(2 * WATCHDOG_S, is_turning=False)
    while_hung = list(manager.look())
    spec.pass_time(0.5, is_turning=True)

    assert len(while_hung) <= 1  # for a turn that was taken before
    assert manager.look() == [*while_hung, "WATCHDOG=1"]


def test_stopping_is_sent_once_and_readiness_never_after_it(manager: FakeManager) -> None:
    spec = Setup(manager.address, watchdog_s=None)

    spec.notifier.stop()
    spec.notifier.stop()
    spec.heartbeat.ready.beat()
    spec.notifier.update()

    assert manager.look() == ["STOPPING=1"]


def test_an_undelivered_notification_is_sent_again(tmp_path: Path) -> None:
    spec = Setup(str(tmp_path / "notify"), watchdog_s=None)
    spec.heartbeat.ready.beat()
    assert spec.notifier.update() == RETRY_S

    with a_manager(tmp_path) as manager:
        spec.notifier.update()

        assert manager.look() == ["READY=1"]


def test_without_a_manager_no_update_is_needed() -> None:
    spec = Setup("")

    spec.heartbeat.ready.beat()
    spec.heartbeat.tick.beat()

    assert spec.notifier.update() is None


@pytest.mark.parametrize(
    ("environment", "address", "watchdog_s"),
    [
        ({}, "", None),
        ({"NOTIFY_SOCKET": "/run/systemd/notify"}, "/run/systemd/notify", None),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "10000000"}, "@abstract", 10.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, "/n", None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, "/n", None),
    ],
)
def test_the_socket_is_taken_from_the_environment_and_removed_there(
    environment: dict[str, str], address: str, watchdog_s: float | None
) -> None:
    left = environment | {"WATCHDOG_PID": "1", "LANG": "C"}

    assert take_notify_socket(left) == NotifySocket(address=address, watchdog_s=watchdog_s)
    assert left == {"LANG": "C"}
