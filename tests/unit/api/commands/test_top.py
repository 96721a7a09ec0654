"""`bin/jobyard top`: what it shows at every screen size, and that it restores the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import termios
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from jobyard.api.commands import exits
from jobyard.api.commands.frame import cut, frame
from jobyard.api.commands.screen import ENTER, LEAVE, Screen
from jobyard.api.commands.show import ANSI
from jobyard.api.commands.snapshot import Snapshot, rates
from tests.unit.api.commands.conftest import FakeService

STATUSES = ("pending", "claimed", "queued", "running", "completed", "failed", "cancelled")
LAG_MS = {"p50": 4.5, "p95": 12.4, "p99": 1500.0}
DEPTH = {str(priority): 0 for priority in range(10)} | {"9": 2, "5": 40}


def a_snapshot(
    *, at_s: float = 0.0, accepted: int = 0, succeeded: int = 0, slots: int = 2, workers: int = 2, task: str = "resize"
) -> Snapshot:  # fmt: skip
    executors = [{"pid": 100 + number, "job_id": f"{number:024x}", "running_s": 10.0 * number} for number in range(slots)]
    components: dict[str, Any] = {
        "scheduler-8081": {"jobs_accepted": accepted}, "queue-6000": {"ready": 42, "leased": 2},
        "watcher-9001": {"jobs_claimed": 7},
    }  # fmt: skip
    for number in range(workers):
        busy = executors if number == 0 else [{"pid": 1, "job_id": None, "running_s": 0}]
        components[f"worker-{7001 + number}"] = {
            "concurrency": 5, "currently_running": len(busy), "executors": busy, "jobs_succeeded": succeeded,
            "jobs_failed": 0, "jobs_retried": 0,
        }  # fmt: skip
    processes = [
        {"name": name, "pid": 4000, "status": "running", "restarts": 0, "uptime_s": 65.0, "rss_bytes": 32 << 20, "cpu_percent": 1.5}
        for name in components
    ]
    jobs = {f"{number:024x}": {"task": task, "priority": 5, "attempt": 1} for number in range(slots)}
    stats = {"jobs": dict.fromkeys(STATUSES, 3), "processes": processes, "components": components}
    at = datetime(2026, 1, 4, 12, 0, tzinfo=UTC)
    return Snapshot(at=at, at_s=at_s, stats=stats, jobs=jobs, depth=DEPTH, lag_ms=LAG_MS)


def shown(snapshot: Snapshot, *, width: int = 80, height: int | None = 24) -> list[str]:
    lines = frame(snapshot, None, width=width, height=height, title="Jobyard")
    return [ANSI.sub("", line) for line in lines]


def test_the_wait_from_due_to_begun_is_shown() -> None:
    assert "; wait p50 4 ms  p95 12 ms  p99 1.5 s" in "\n".join(shown(a_snapshot()))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (132, 50), (40, 12), (20, 9)])
@pytest.mark.parametrize("slots", [0, 1, 300])
def test_the_lines_fit_every_screen_size(width: int, height: int, slots: int) -> None:
    lines = shown(a_snapshot(slots=slots, workers=30), width=width, height=height)

    assert len(lines) <= height and max(map(len, lines)) <= width


def test_it_shows_counts_slots_and_activity() -> None:
    text = "\n".join(shown(a_snapshot(), height=None, width=200))

    assert "pending 3" in text and "42 ready, 2 leased; by priority 9: 2  5: 40" in text
    assert "3 of 10 busy" not in text and "2 of 10 busy" in text
    assert re.search(r"000000000000000000000001 +10 s +5 +1 +worker-7001 +101 +resize", text)
    assert "accepted 0" in text and "claimed 7" in text and "2 of 5 busy" in text


def test_lines_that_do_not_fit_are_counted() -> None:
    lines = shown(a_snapshot(slots=300))

    assert len(lines) == 24 and re.fullmatch(r"… \d+ more", lines[-1])


def test_a_task_name_cannot_control_the_terminal() -> None:
    assert "\x1b]0;" not in "".join(frame(a_snapshot(task="\x1b]0;mine\x07"), None, width=80, height=24, title=""))


def test_rates_are_per_second_between_two_snapshots_and_leave_out_replaced_components() -> None:
    before, after = a_snapshot(at_s=10.0, accepted=100, succeeded=50), a_snapshot(at_s=12.0, accepted=120, succeeded=0)

    found = rates(before, after)

    assert found == {"accepted": 10.0, "succeeded": 0.0, "failed": 0.0, "retried": 0.0}


def test_colour_codes_do_not_count_towards_the_width() -> None:
    assert cut("\x1b[1mabcdef\x1b[0m", 3) == "\x1b[1mabc\x1b[0m"


# ---- the command


@pytest.fixture
def service(service: FakeService) -> FakeService:
    service.on("GET /stats", a_snapshot().stats).on("GET /api/history", {"queue_depth": DEPTH})
    return service.on("GET /api/jobs", [{"job_id": f"{1:024x}", "task": "resize"}])


def test_once_prints_one_screen_without_colours(service: FakeService) -> None:
    ended = service.run("top", "--once", "--every", "0.1")

    assert ended.exit_code == exits.OK and "resize" in ended.output and "accepted 0.0/s" in ended.output
    assert "\x1b" not in ended.output


def test_json_is_one_document(service: FakeService) -> None:
    report = json.loads(service.run("top", "--json").stdout)

    assert report["queue_depth"] == DEPTH and report["running"][0]["task"] == "resize" and report["stats"]["processes"]


def test_without_a_terminal_it_demands_once(service: FakeService) -> None:
    ended = service.run("top")

    assert ended.exit_code == exits.USAGE and "--once" in ended.output


def test_an_unavailable_service_is_reported_in_one_line(service: FakeService) -> None:
    service.on("GET /stats", httpx.ConnectError("Connection refused"))

    ended = service.run("top", "--once")

    assert ended.exit_code == exits.UNREACHABLE and "Connection refused" in ended.output


# ---- the terminal


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo-terminal: the person's, then the program's."""
    person, program = os.openpty()
    yield person, program
    for fd in (person, program):
        os.close(fd)


def seen(person: int) -> str:
    written = b""
    while select.select([person], [], [], 0)[0]:
        written += os.read(person, 65536)
    return written.decode()


@pytest.mark.parametrize("how", ["leaves", "breaks"])
def test_the_terminal_is_restored(terminal: tuple[int, int], how: str) -> None:
    person, program = terminal
    before, handler = termios.tcgetattr(program), signal.getsignal(signal.SIGTERM)

    with contextlib.suppress(ZeroDivisionError), Screen(program, program, has_colours=True) as screen:
        during = termios.tcgetattr(program)
        screen.draw(["one", "two"])
        1 / (how == "leaves")

    assert during != before and termios.tcgetattr(program) == before and signal.getsignal(signal.SIGTERM) is handler
    text = seen(person)
    assert text.startswith(ENTER) and text.endswith(LEAVE) and "one\x1b[K\r\ntwo" in text


def test_a_frame_does_not_clear_what_it_overwrites(terminal: tuple[int, int]) -> None:
    person, program = terminal

    with Screen(program, program, has_colours=False) as screen:
        seen(person)
        screen.draw(["\x1b[31mred\x1b[0m"])
        text = seen(person)

    assert "\x1b[2J" not in text and "\x1b[31m" not in text and "red\x1b[K" in text


def test_a_key_is_returned_and_a_signal_ends(terminal: tuple[int, int]) -> None:
    person, program = terminal

    with Screen(program, program, has_colours=True) as screen:
        os.write(person, b"q")
        assert screen.wait_key(5) == "q"
        assert screen.wait_key(0) == ""
        signal.raise_signal(signal.SIGWINCH)
        assert screen.wait_key(5) == ""
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            screen.wait_key(5)
