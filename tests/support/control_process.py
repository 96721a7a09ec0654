"""A real control process in a folder, for tests that use, stop and kill it."""

from __future__ import annotations

import os
import resource
import select
import signal
from pathlib import Path

from jobyard.engine.control.client import Control, ControlAway
from jobyard.engine.control.protocol import OVERVIEW
from jobyard.engine.control.server import serve
from jobyard.engine.process_control import close_descriptors, die_with_parent
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.role_loop import Signals
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World
from tests.support.waiting import wait_for


class ControlProcess:
    """See the module; `close` ends it."""

    def __init__(self, data_dir: Path) -> None:
        self.world = World()
        self.run_dir = RunDir(data_dir)
        self.run_dir.make()
        self.heartbeats = HeartbeatPage(1)
        self.pid = 0
        self._clients: list[Control] = []

    def start(self, *, descriptors: int | None = None) -> ControlProcess:
        """Comes back when it answers. `descriptors`: how many it may have open."""
        parent = os.getpid()

        def main() -> int:
            die_with_parent(parent)
            close_descriptors(keep=set())
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
            signals = Signals(signal.SIGTERM)
            signal_fd = signals.install()

            def is_to_stop() -> bool:
                select.select([signal_fd], [], [], 0.05)
                return signals.seen[signal.SIGTERM] > 0

            serve(self.run_dir, self.world, beat=self.heartbeats.slot(0, self.world).beat, is_to_stop=is_to_stop)
            return 0

        self.pid = self.world.fork(main)
        client = self.client()
        try:
            wait_for(lambda: self.answers(client), told="an answer of control")
        except AssertionError:
            self.close()
            raise
        return self

    def client(self, **more: float) -> Control:
        """One more of its clients; closed with it."""
        self._clients.append(Control(self.run_dir, self.world, name="test", **more))
        return self._clients[-1]

    def answers(self, client: Control) -> bool:
        """Whether it does, to this client."""
        try:
            client.call(OVERVIEW, "read", [])
        except ControlAway:
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it one."""
        self.world.kill(self.pid, number)

    def stand_still(self) -> None:
        """SIGSTOP; comes back when it has taken effect."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: {self._state(thread) for thread in os.listdir(f"/proc/{self.pid}/task")} == {"T"}, told="a stop")

    def _state(self, thread: str) -> str:
        return Path(f"/proc/{self.pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0]

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        if self.pid:
            self.signal(signal.SIGKILL)
            self.world.wait(self.pid)
        self.pid = 0

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        status = self.world.wait(self.pid)
        self.pid = 0
        return status

    def cpu_s(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it, and all that talk to it."""
        self.kill()
        for client in self._clients:
            client.close()
