"""Control from a program of yours, on the same host and as the same user: who lives, and what each component counts.

    import jobyard.control

    with jobyard.control.connect("var") as control:      # the DATA_DIR that Jobyard runs on
        for process in control.roster():
            print(process.name, process.state, process.pid, process.restarts)
        print(control.counters()["worker-7001"]["currently_running"])

A call takes a fraction of a millisecond and wakes no component. It raises `ControlAway` when nothing runs on that folder, or
control does not answer within a quarter of a second; asked again a second later it does, for control is replaced when it dies.
"""

from jobyard.engine.control.client import ControlAway, LocalControl, connect
from jobyard.engine.control.snapshot import Process

__all__ = ["ControlAway", "LocalControl", "Process", "connect"]
