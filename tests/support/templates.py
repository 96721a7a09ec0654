"""A real template without an exec: a fork of the test's own process, whose tasks are functions of the test."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from jobyard.engine.executor.packets import packet_pair
from jobyard.engine.executor.touch_watch import WATCH
from jobyard.engine.process_control import close_descriptors, die_with_parent
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.template.main import ignore_signals
from jobyard.engine.template.template import Template
from jobyard.engine.world import World


class ForkedTemplate:
    """Runs until `end`; `line` is the supervisor's end of the connection, which the test uses."""

    def __init__(self, folder: Path, registry: Registry, *, name: str = "template.spawn") -> None:
        self.path = folder / name
        self.path.unlink(missing_ok=True)
        self._world = World()
        self.line, far_line = packet_pair()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.path))
        listener.listen()
        parent = os.getpid()

        def run() -> int:
            die_with_parent(parent)
            close_descriptors(keep={far_line.fileno(), listener.fileno()})
            ignore_signals()
            WATCH.install()
            return Template(
                line=far_line, listener=listener, closed_in_children=[], folder=str(folder / "tmp"), log_level="info",
                world=self._world, registry=registry,
            ).run()  # fmt: skip

        self.pid = self._world.fork(run)
        far_line.close()
        listener.close()

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> int:
        """Kill it, if it lives; its exit status."""
        self._world.kill(self.pid, signal.SIGKILL)
        self.line.close()
        return self._world.wait(self.pid)
