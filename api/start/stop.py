"""`bin/stop-all`: asks every start on the data folder to drain, and waits until it has ended."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass

from jobyard.engine.config import Settings
from jobyard.engine.supervisor.data_dir import DataDir, Occupant
from jobyard.engine.supervisor.role_loop import EXIT_OK
from jobyard.engine.world import World

MARGIN_S = 60.0
EXIT_STILL_THERE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A start that was asked to stop; the descriptor is readable once it has exited."""

    occupant: Occupant
    pidfd: int


def stop_all(settings: Settings, world: World) -> int:
    """Stop everything on the folder; returns the exit status, 1 if something does not exit."""
    data_dir = DataDir(settings.data_dir)
    leaving = [one for one in (_ask(data_dir, occupant) for occupant in data_dir.occupants()) if one is not None]
    if not leaving:
        print(f"nothing runs on {settings.data_dir}")
    give_up_at = world.monotonic() + settings.drain_s + MARGIN_S
    ended = [_await_end(one, give_up_at - world.monotonic()) for one in leaving]
    return EXIT_OK if all(ended) else EXIT_STILL_THERE


def _ask(data_dir: DataDir, occupant: Occupant) -> Leaving | None:
    """Open the pidfd before checking the file again, so that the signal cannot reach another process with the same pid."""
    try:
        pidfd = os.pidfd_open(occupant.pid)
    except ProcessLookupError:
        return None
    if not data_dir.is_occupied_by(occupant):
        os.close(pidfd)
        return None
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    print(f"stopping {occupant}", flush=True)
    return Leaving(occupant=occupant, pidfd=pidfd)


def _await_end(one: Leaving, timeout_s: float) -> bool:
    readable, _, _ = select.select([one.pidfd], [], [], max(0.0, timeout_s))
    os.close(one.pidfd)
    overdue = f"{one.occupant} has not ended in {timeout_s:.0f} s; kill -9 {one.occupant.pid} ends it"
    print(f"stopped {one.occupant}" if readable else overdue, flush=True)
    return bool(readable)
