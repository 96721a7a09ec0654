"""Access to control for programs on the same host and of the same user: the roster of processes, and the counters of components.

    import jobyard.control

    with jobyard.control.connect("var") as control:      # the DATA_DIR that Jobyard runs on
        for process in control.roster():
            print(process.name, process.state, process.pid, process.restarts)
        print(control.counters()["worker-7001"]["currently_running"])

A call takes a fraction of a millisecond and wakes no component. It raises `ControlAway` if nothing runs on that folder, or if
control does not answer within a quarter of a second. A dead control process is replaced, so a call a second later succeeds.
"""

from jobyard.engine.control.client import ControlAway, LocalControl, connect
from jobyard.engine.control.snapshot import Process

__all__ = ["ControlAway", "LocalControl", "Process", "connect"]
