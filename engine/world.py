"""Time, randomness, ids and processes: everything that tests must control. Only this module asks the system for them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2


class World:
    """The real world. Tests pass a subclass with a clock that they advance and a seeded random generator."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._process_bits = self._random.getrandbits(40).to_bytes(5, "big")
        self._id_counter = self._random.getrandbits(24)
        self._id_lock = threading.Lock()  # the front's threads share one world

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC, truncated to milliseconds; for stored timestamps."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps and that all processes of this host share; for durations."""
        return time.monotonic()

    def jitter(self, at_most_s: float) -> float:
        """A random delay between 0 and `at_most_s` seconds."""
        return self._random.uniform(0, at_most_s)

    def token(self, bits: int = 64) -> str:
        """Unpredictable random hex digits."""
        return os.urandom(bits // 8).hex()

    def host(self) -> str:
        """The name of this host, as it appears in owners' names."""
        return socket.gethostname()

    def reserve_ids(self, count: int) -> str:
        """The first of `count` consecutive, globally unique ObjectIds (24 hex digits); `later_id` computes the others.

        The layout follows the BSON ObjectId specification: 4 bytes of seconds, 5 bytes of process, a 3-byte counter.
        """
        with self._id_lock:
            first = self._id_counter
            self._id_counter = (first + count) % (1 << 24)
        return (int(time.time()).to_bytes(4, "big") + self._process_bits + first.to_bytes(3, "big")).hex()

    def object_id(self) -> str:
        """One new ObjectId, 24 hex digits."""
        return self.reserve_ids(1)

    def fork(self, main: Callable[[], int]) -> int:
        """Run `main` in a forked child, which exits with the status it returns; returns the child's pid.

        The child never returns into the caller's frames, whatever happens in `main`. Its random generator is seeded anew.
        """
        pid = os.fork()
        if pid:
            return pid
        status = 70
        try:
            World.__init__(self)
            status = main()
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 70
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def kill(self, pid: int, signal_number: int) -> bool:
        """Send a signal to one of our processes; False if it no longer exists."""
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            return False
        return True

    def kill_group(self, group: int, signal_number: int) -> bool:
        """Send a signal to one of our process groups; False if it is empty."""
        try:
            os.killpg(group, signal_number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def signal_process(self, pid_fd: int, signal_number: int, *, to_group: bool = False) -> bool:
        """Send a signal to a pidfd's process, or to the group it leads where the kernel supports that; False if it is gone."""
        try:
            if to_group:
                with contextlib.suppress(OSError):  # before Linux 6.9, or it leads no group yet
                    signal.pidfd_send_signal(pid_fd, signal_number, None, PIDFD_SIGNAL_PROCESS_GROUP)
                    return True
            signal.pidfd_send_signal(pid_fd, signal_number)
        except ProcessLookupError:
            return False
        return True

    def reap(self) -> list[tuple[int, int]]:
        """Reap every child that has ended; returns its pid and exit status (minus the signal number if a signal ended it)."""
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended.append((pid, os.waitstatus_to_exitcode(wait_status)))

    def wait(self, pid: int) -> int:
        """Wait until this child ends; returns its exit status, or minus the number of the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def has_children(self) -> bool:
        """Whether this process has any child that is not reaped; cheaper than listing them."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def children(self, parent: int = 0) -> list[int]:
        """The pids of all unreaped children of a process (0: this one), including adopted orphans."""
        me = parent or os.getpid()
        try:
            lists = [Path(f"/proc/{me}/task/{thread}/children").read_text() for thread in os.listdir(f"/proc/{me}/task")]
            return [int(pid) for pids in lists for pid in pids.split()]
        except FileNotFoundError:  # the kernel has no such file, or a thread has just ended
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            return [pid for pid in pids if _stat(pid)[1:2] == [str(me)]]

    def memory_of(self, pid: int) -> int:
        """The resident memory of a process in bytes; 0 if it does not exist."""
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def state_of(self, pid: int) -> str:
        """The state letter that `ps` shows (`R` `S` `D` `T` `Z`); empty if the process does not exist."""
        return "".join(_stat(pid)[:1])

    def session_of(self, pid: int) -> int:
        """The pid of its session leader; 0 if the process does not exist."""
        return int("".join(_stat(pid)[3:4]) or 0)

    def group_of(self, pid: int) -> int:
        """The pid of its group leader; 0 if the process does not exist."""
        return int("".join(_stat(pid)[2:3]) or 0)


def later_id(first_id: str, index: int) -> str:
    """The id `index` places after `first_id` in a reserved run: only the 24-bit counter advances, and it wraps around."""
    counter = (int(first_id[18:], 16) + index) % (1 << 24)
    return f"{first_id[:18]}{counter:06x}"


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/<pid>/stat` from the state on (the name may contain anything); empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
