"""`bin/stop-all`: sends SIGTERM to every start on the data folder, and waits until all have ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass

from jobyard.engine.config import Settings
from jobyard.engine.logs import write_line
from jobyard.engine.stop_requests import StopRequests
from jobyard.engine.supervisor.data_dir import DataDir, Occupant
from jobyard.engine.supervisor.role_loop import EXIT_OK
from jobyard.engine.world import World

MARGIN_S = 60.0
EXIT_NOT_ENDED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """A start that is stopping; `pidfd` becomes readable when it has ended."""

    occupant: Occupant
    pidfd: int


def stop_all(settings: Settings, world: World, *, stop_requests: StopRequests) -> int:
    """Stop everything, and print what was stopped; the exit status is 1 if a start did not end in time. Raises `Stopped`."""
    data_dir = DataDir(settings.data_dir)
    stopping = [one for one in (_request_stop(data_dir, occupant) for occupant in data_dir.occupants()) if one is not None]
    if not stopping:
        write_line(f"nothing runs on {settings.data_dir}")
    give_up_at = world.monotonic() + settings.drain_s + MARGIN_S
    ended = [_await_end(one, give_up_at - world.monotonic(), stop_requests) for one in stopping]
    return EXIT_OK if all(ended) else EXIT_NOT_ENDED


def _request_stop(data_dir: DataDir, occupant: Occupant) -> Stopping | None:
    """Open a pidfd before checking the pid file again, so that the signal cannot reach another process with a reused pid."""
    try:
        pidfd = os.pidfd_open(occupant.pid)
    except ProcessLookupError:
        return None
    if not data_dir.is_occupied_by(occupant):
        os.close(pidfd)
        return None
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    write_line(f"stopping {occupant}")
    return Stopping(occupant=occupant, pidfd=pidfd)


def _await_end(one: Stopping, timeout_s: float, stop_requests: StopRequests) -> bool:
    has_ended = stop_requests.wait_readable(one.pidfd, max(0.0, timeout_s))
    os.close(one.pidfd)
    overdue = f"{one.occupant} has not ended within {timeout_s:.0f} s; kill -9 {one.occupant.pid} ends it"
    write_line(f"stopped {one.occupant}" if has_ended else overdue)
    return has_ended
