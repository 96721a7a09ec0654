"""No process outlives the test that started it: pytest's hooks that mark what a test starts, and end what is left of it.

A process belongs to a test if its environment has the test's mark, if it works in the test's folder, or if it comes from such a
process. A fixture that several tests share has a mark of its own, and ends what it started by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.process_mark import MARK
from tests.support.waiting import wait_for

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
GRACE_S = 10.0
"""After a test that passed; what is still about to leave then is ended, too, and the test fails."""

_started = 0


def _count_starts(event: str, arguments: object) -> None:
    global _started
    _started += event in STARTS


sys.addaudithook(_count_starts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Mark what is started from here on, and sweep after the test's own fixtures are gone."""
    os.environ[MARK] = f"{os.getpid()} {item.nodeid}"
    item.stash[_STARTED] = _started
    item.stash[_BEFORE] = frozenset(psutil.Process().children())
    try:
        return (yield)
    finally:
        os.environ.pop(MARK, None)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Iterator[object]:
    """What a shared fixture starts belongs to no test."""
    if fixturedef.scope == "function":
        return (yield)
    mark = os.environ.get(MARK)
    os.environ[MARK] = "shared"
    try:
        return (yield)
    finally:
        os.environ.pop(MARK)
        if mark is not None:
            os.environ[MARK] = mark


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    """Remember whether the test failed."""
    report: pytest.TestReport = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End what is left; a test that passed must leave nothing."""
    yield
    if _started == item.stash[_STARTED]:
        return
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    mark = os.environ.get(MARK, "")
    if not item.stash.get(_FAILED, False):
        left: list[str] = []
        try:
            wait_for(lambda: not living(mark, folder), within_s=GRACE_S)
        except AssertionError:
            left = [f"{process.pid} {' '.join(process.cmdline())[:200]}" for process in living(mark, folder)]
        end_all(mark, folder)
        if left:
            pytest.fail(f"the test left processes: {left}", pytrace=False)
    end_all(mark, folder)
    end_forks(item.stash[_BEFORE])


_STARTED = pytest.StashKey[int]()
_FAILED = pytest.StashKey[bool]()
_BEFORE = pytest.StashKey[frozenset[psutil.Process]]()


def end_forks(before: frozenset[psutil.Process]) -> None:
    """Kill what the test forked from this process: it has no mark, as the kernel shows the environment of the last `exec`."""
    own = _environment_of(psutil.Process())
    _kill({child for child in psutil.Process().children() if child not in before and _environment_of(child) == own})


def _environment_of(process: psutil.Process) -> bytes:
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return b""


def end_all(mark: str, folder: Path | None) -> None:
    """Kill what is left, and what that starts meanwhile."""
    wait_for(lambda: not _kill(living(mark, folder)), told="the end of all processes of a test")


def living(mark: str, folder: Path | None) -> set[psutil.Process]:
    """The processes of a test that have not ended, other than this one."""
    roots = [process for process in psutil.process_iter() if process.pid != os.getpid() and _belongs(process, mark, folder)]
    found = set(roots)
    for process in roots:
        try:
            found.update(process.children(recursive=True))
        except psutil.Error:
            continue
    return {process for process in found if _lives(process)}


def _belongs(process: psutil.Process, mark: str, folder: Path | None) -> bool:
    try:
        if process.environ().get(MARK) == mark:
            return True
        return folder is not None and Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, OSError):
        return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _kill(processes: set[psutil.Process]) -> set[psutil.Process]:
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    return processes
