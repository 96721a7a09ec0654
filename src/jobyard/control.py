"""Reads control from a program of the same user on the same host: the running processes, and the counters of each component.

    import jobyard.control

    with jobyard.control.connect("var") as control:      # the DATA_DIR that Jobyard runs on
        for process in control.roster():
            print(process.name, process.state, process.pid, process.restarts)
        print(control.counters()["worker-7001"]["currently_running"])

A call takes a fraction of a millisecond and wakes no component. It raises `ControlAway` if nothing runs on that folder, or
control does not answer within a quarter of a second; a control process that died is replaced within a second.
"""

from jobyard.engine.control.client import ControlAway, LocalControl, connect
from jobyard.engine.control.snapshot import Process

__all__ = ["ControlAway", "LocalControl", "Process", "connect"]
