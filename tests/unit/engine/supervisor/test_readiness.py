"""What the guard tells a service manager, by what its supervisor shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.supervisor.readiness import TRY_AGAIN_S, NotifySocket, ReadinessNotifier, SupervisorSigns, take_notify_socket
from tests.support.manager import FakeManager, a_manager
from tests.support.world import FakeWorld

WATCHDOG_S = 8.0
PING_EVERY_S = 2.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[FakeManager]:
    with a_manager(tmp_path) as manager:
        yield manager


class ProcessSpec:
    """A herald, and the supervisor's signs in our hands."""

    def __init__(self, address: str, *, watchdog_s: float | None = WATCHDOG_S) -> None:
        self.world = FakeWorld()
        self.signs = SupervisorSigns(self.world)
        self.notifier = ReadinessNotifier(NotifySocket(address=address, watchdog_s=watchdog_s), self.signs, self.world)

    def pass_time(self, seconds: float, *, is_turning: bool) -> None:
        """In steps of half a second."""
        for _ in range(round(seconds * 2)):
            self.world.advance(0.5)
            if is_turning:
                self.signs.turn.beat()
            self.notifier.look()


def test_ready_is_told_once_and_not_before_it_is_so(manager: FakeManager) -> None:
    spec = ProcessSpec(manager.address, watchdog_s=None)

    spec.notifier.look()
    told_before = list(manager.look())
    spec.signs.ready.beat()
    next_look_s = [spec.notifier.look(), spec.notifier.look()]

    assert (told_before, manager.look()) == ([], ["READY=1"])
    assert next_look_s == [None, None]


def test_pings_come_as_long_as_the_supervisor_takes_turns(manager: FakeManager) -> None:
    spec = ProcessSpec(manager.address)

    spec.pass_time(10 * PING_EVERY_S, is_turning=True)

    assert manager.look() == ["WATCHDOG=1"] * 10


def test_pings_end_with_the_supervisors_turns_and_come_again_with_them(manager: FakeManager) -> None:
    spec = ProcessSpec(manager.address)
    spec.pass_time(PING_EVERY_S, is_turning=True)
    manager.look().clear()

    spec.pass_time(2 * WATCHDOG_S, is_turning=False)
    while_hung = list(manager.look())
    spec.pass_time(0.5, is_turning=True)

    assert len(while_hung) <= 1  # for a turn that was taken before
    assert manager.look() == [*while_hung, "WATCHDOG=1"]


def test_stopping_is_told_once_and_nothing_is_ready_after_it(manager: FakeManager) -> None:
    spec = ProcessSpec(manager.address, watchdog_s=None)

    spec.notifier.stop()
    spec.notifier.stop()
    spec.signs.ready.beat()
    spec.notifier.look()

    assert manager.look() == ["STOPPING=1"]


def test_what_a_manager_did_not_take_is_told_again(tmp_path: Path) -> None:
    spec = ProcessSpec(str(tmp_path / "notify"), watchdog_s=None)
    spec.signs.ready.beat()
    assert spec.notifier.look() == TRY_AGAIN_S

    with a_manager(tmp_path) as manager:
        spec.notifier.look()

        assert manager.look() == ["READY=1"]


def test_without_a_manager_there_is_nothing_to_look_for() -> None:
    spec = ProcessSpec("")

    spec.signs.ready.beat()
    spec.signs.turn.beat()

    assert spec.notifier.look() is None


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
def test_the_environment_says_who_wants_to_know_and_nobody_else_reads_it_there(
    environment: dict[str, str], address: str, watchdog_s: float | None
) -> None:
    left = environment | {"WATCHDOG_PID": "1", "LANG": "C"}

    assert take_notify_socket(left) == NotifySocket(address=address, watchdog_s=watchdog_s)
    assert left == {"LANG": "C"}
