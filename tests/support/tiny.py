"""A system of roles that do almost nothing, under the real guard and supervisor: `python tests/support/tiny.py`.

`worker-7001` has an executor in a session of its own, which has started a process of its own; both only sleep. Each role writes
its name to `left` when it stops cleanly. `CRASHES` names a role that ends as soon as it starts, `CLINGS` one that never drains.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from jobyard.api.start.drain import drain_stages
from jobyard.api.start.roles import Start, control_spec
from jobyard.engine.config import read_settings
from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import CONTROL, remove_names
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.process_control import die_with_parent
from jobyard.engine.supervisor.commands import Commands, reload_by
from jobyard.engine.supervisor.control_link import ControlLink
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.supervisor.guard import guard
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.hooks import Hooks
from jobyard.engine.supervisor.orphans import Orphans, PendingDeaths
from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec
from jobyard.engine.supervisor.readiness import ReadinessNotifier, SupervisorHeartbeat, take_notify_socket
from jobyard.engine.supervisor.role_loop import reset_after_fork, run_role
from jobyard.engine.supervisor.supervisor import Supervisor
from jobyard.engine.supervisor.supervisor_loop import become_supervisor, fork_process, run_supervisor
from jobyard.engine.wire.hub import Envelope, Hub
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

NAMES = ("queue-6000", "scheduler-8081", "watcher-9001", "worker-7001", "gateway-8080")
WORLD = World()
DATA = Path(os.environ["DATA_DIR"])


class Tiny:
    """A role without work."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.drained = False
        if name == os.environ.get("CRASHES"):
            raise SystemExit(1)
        if name.startswith("worker"):
            parent = os.getpid()
            WORLD.fork(lambda: _execute(parent))

    def tick(self, inbox: list[Envelope]) -> float:
        return 60.0

    def drain(self) -> None:
        self.drained = self._name != os.environ.get("CLINGS")

    def counters(self) -> ComponentCounters:
        return ComponentCounters(started_at=0.0, stats={})

    def close(self) -> None:
        with (DATA / "left").open("a") as left:
            left.write(f"{self._name}\n")


def _execute(parent: int) -> int:
    reset_after_fork(frozenset())
    die_with_parent(parent)
    os.setsid()
    me = os.getpid()
    WORLD.fork(_rest)
    (DATA / "executor").write_text(str(me))
    return _rest()


def _rest() -> int:
    signal.pause()
    return 0


def _main_of(name: str, supervisor: int, log: Log) -> ProcessSpec:
    hang_s = float(os.environ.get("HANG_S", "10"))
    return ProcessSpec(
        name=name, role=name.split("-")[0],
        main=lambda identity: run_role(
            lambda hub: Tiny(name), name=name, parent=supervisor, hub=Hub(RunDir(DATA)), heartbeat=identity.heartbeat,
            log=log.named(name), world=WORLD, channel=Channel(RunDir(DATA), WORLD, name=name), longest_sleep_s=hang_s / 4,
        ),
    )  # fmt: skip


def _control(log: Log) -> ProcessSpec:
    settings = read_settings({"DATA_DIR": str(DATA), "HANG_S": os.environ.get("HANG_S", "10")})
    start = Start(settings=settings, world=WORLD, log=log, boot="b00t", supervisor=os.getpid(), template="")
    return control_spec(start, name=CONTROL)


def supervise(guard_pid: int, heartbeat: SupervisorHeartbeat) -> int:
    """See `start.launch.Launch.supervise`."""
    become_supervisor(guard_pid)
    log = Log(WORLD, process="supervisor")
    run_dir = RunDir(DATA)
    deaths = ProofsOfDeath(run_dir, boot="b00t", foreign_hosts=False)
    boot_lock = deaths.hold()
    hub = Hub(run_dir)

    def fork(spec: ProcessSpec, identity: ProcessIdentity) -> int:
        return fork_process(WORLD, spec, identity, keep=frozenset({boot_lock}))

    def announce() -> None:
        print("Jobyard is ready", flush=True)
        heartbeat.ready.beat()

    supervisor = Supervisor(
        specs=[_control(log), *(_main_of(name, os.getpid(), log) for name in NAMES)],
        stages=drain_stages(float(os.environ.get("DRAIN_S", "30"))),
        owner=Owner("box", "b00t", "supervisor", 1), pid=os.getpid(),
        hang_s=float(os.environ.get("HANG_S", "10")), world=WORLD, log=log, heartbeats=HeartbeatPage(1 + len(NAMES)),
        pending_deaths=PendingDeaths(record=deaths.record, orphans=Orphans(WORLD), log=log),
        hooks=Hooks(fork=fork, report_deaths=lambda owners: None, announce=announce),
    )  # fmt: skip
    link = ControlLink(*(Channel(run_dir, WORLD, name="supervisor") for _ in range(2)), supervisor="supervisor")
    commands = Commands(supervisor, level=log.level, drainable=[], reload=reload_by(supervisor))
    return run_supervisor(
        supervisor, hub=hub, name="supervisor", guard=guard_pid, heartbeat=heartbeat, link=link, commands=commands,
        world=WORLD,
    )


def main() -> int:
    """See `start.start.start`."""
    data_dir = DataDir(DATA)
    data_dir.make()
    data_dir.take("start-all", alone=True)
    guard_pid, heartbeat = os.getpid(), SupervisorHeartbeat(WORLD)
    notifier = ReadinessNotifier(take_notify_socket(os.environ), heartbeat, WORLD)
    try:
        return guard(WORLD, lambda: supervise(guard_pid, heartbeat), title="tiny guard", notifier=notifier)
    finally:
        for name in ("supervisor", *NAMES):
            data_dir.run_dir.remove(name)
        remove_names(data_dir.run_dir)
        data_dir.release()


if __name__ == "__main__":
    sys.exit(main())
