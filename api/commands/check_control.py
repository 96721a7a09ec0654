"""What `doctor` asks control on this host: whether it answers, and which processes are silent or drained."""

from __future__ import annotations

from collections.abc import Iterator

from jobyard.api.commands.findings import Finding, fine, warning
from jobyard.api.commands.times import span
from jobyard.engine.checkout import program
from jobyard.engine.config import Settings
from jobyard.engine.control.client import ControlAway, LocalControl
from jobyard.engine.control.snapshot import Process
from jobyard.engine.supervisor.data_dir import DataDir


def look_at_control(settings: Settings) -> Iterator[Finding]:
    """No findings when nothing runs on this data folder."""
    if not DataDir(settings.data_dir).occupants():
        return
    try:
        with LocalControl(settings.data_dir) as control:
            roster = control.roster()
    except ControlAway as away:
        remedy = f"it is replaced within {settings.hang_s:g} s; until then statistics are old, and jobs are not affected"
        yield warning("control", away.message, remedy)
        return
    yield from (finding for process in roster for finding in _look_at(process))
    yield fine("control", f"answers, and knows {len(roster)} processes")


def _look_at(process: Process) -> Iterator[Finding]:
    if process.silent_s is not None:
        words = f"{process.name}, pid {process.pid}, has shown no sign of life for {span(process.silent_s)}"
        yield warning("control", words, "it is replaced after HANG_S; if it keeps happening, see what the log says before it")
    if process.state == "drained":
        yield warning("control", f"{process.name} is drained", f"start it again with {program('jobyard')} restart {process.name}")
