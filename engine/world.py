"""Time, chance, ids and processes: all that a test must be able to control. The only module that asks the system for them."""

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
    """The real one. Tests hand roles a subclass with a clock that they move and chance that they seed."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._process_bits = self._random.getrandbits(40).to_bytes(5, "big")
        self._id_counter = self._random.getrandbits(24)
        self._id_lock = threading.Lock()  # the front's threads share one world

    def now(self) -> datetime:
        """Wall time, aware, UTC, cut to milliseconds: for what is stored."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    def monotonic(self) -> float:
        """Seconds that never jump, the same for all processes of this host: for how long."""
        return time.monotonic()

    def jitter(self, at_most_s: float) -> float:
        """Between 0 and `at_most_s` seconds."""
        return self._random.uniform(0, at_most_s)

    def token(self, bits: int = 64) -> str:
        """Random hex digits that nobody can guess."""
        return os.urandom(bits // 8).hex()

    def host(self) -> str:
        """This host's name, as it stands in owners' names."""
        return socket.gethostname()

    def reserve_ids(self, count: int) -> str:
        """The first of `count` ObjectIds that no one else makes (24 hex digits); `later_id` gives the others.

        Layout of the BSON ObjectId specification: 4 bytes of seconds, 5 of process, a 3-byte counter.
        """
        with self._id_lock:
            first = self._id_counter
            self._id_counter = (first + count) % (1 << 24)
        return (int(time.time()).to_bytes(4, "big") + self._process_bits + first.to_bytes(3, "big")).hex()

    def object_id(self) -> str:
        """One new ObjectId, 24 hex digits."""
        return self.reserve_ids(1)

    def fork(self, main: Callable[[], int]) -> int:
        """Run `main` in a forked child, which leaves with the status it returns; the child's pid comes back.

        The child never returns into the caller's frames, whatever happens in `main`. It gets chance of its own.
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
        """Send a signal to a process of ours; False when it is gone."""
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            return False
        return True

    def kill_group(self, group: int, signal_number: int) -> bool:
        """Send a signal to a process group of ours; False when it is empty."""
        try:
            os.killpg(group, signal_number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def signal_process(self, pid_fd: int, signal_number: int, *, to_group: bool = False) -> bool:
        """Send a signal to the process of a pidfd, or to the group that it leads where the kernel can; False when it is gone."""
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
        """Pid and exit status (minus the signal's number, if one ended it) of every child that has ended; no zombie is left."""
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
        """Wait for this child to end; its exit status, or minus the number of the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def has_children(self) -> bool:
        """Whether this process has any child that is not reaped: cheaper than to list them."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def children(self, parent: int = 0) -> list[int]:
        """Pids of all children of a process (0: this one) that are not reaped, orphans that came to it included."""
        me = parent or os.getpid()
        try:
            lists = [Path(f"/proc/{me}/task/{thread}/children").read_text() for thread in os.listdir(f"/proc/{me}/task")]
            return [int(pid) for pids in lists for pid in pids.split()]
        except FileNotFoundError:  # a kernel without that file, or a thread that has just ended
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            return [pid for pid in pids if _stat(pid)[1:2] == [str(me)]]

    def memory_of(self, pid: int) -> int:
        """Resident bytes of a process; 0 when there is no such process."""
        try:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return 0

    def state_of(self, pid: int) -> str:
        """One letter as `ps` shows it (`R` `S` `D` `T` `Z`), empty when there is no such process."""
        return "".join(_stat(pid)[:1])

    def session_of(self, pid: int) -> int:
        """The pid that leads its session; 0 when there is no such process."""
        return int("".join(_stat(pid)[3:4]) or 0)

    def group_of(self, pid: int) -> int:
        """The pid that leads its process group; 0 when there is no such process."""
        return int("".join(_stat(pid)[2:3]) or 0)


def later_id(first_id: str, index: int) -> str:
    """The id `index` places after `first_id` in a reserved run: the 24-bit counter rises and wraps, the rest stays."""
    counter = (int(first_id[18:], 16) + index) % (1 << 24)
    return f"{first_id[:18]}{counter:06x}"


def _stat(pid: int) -> list[str]:
    """`/proc/<pid>/stat` from the state on (its name may hold anything); empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
