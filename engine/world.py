"""Time, chance, ids and processes: all that a test must be able to control. The only module that asks the system for them."""

from __future__ import annotations

import os
import random
import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime


class World:
    """The real one. Tests hand roles a subclass with a clock that they move and chance that they seed."""

    def __init__(self) -> None:
        self._random = random.Random()
        self._process_bits = self._random.getrandbits(40).to_bytes(5, "big")
        self._id_counter = self._random.getrandbits(24)

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


def later_id(first_id: str, index: int) -> str:
    """The id `index` places after `first_id` in a reserved run: the 24-bit counter rises and wraps, the rest stays."""
    counter = (int(first_id[18:], 16) + index) % (1 << 24)
    return f"{first_id[:18]}{counter:06x}"
