"""`bin/bench --peers`: other job systems, measured in the same run on the same machine beside Jobyard.

`catalogue.py` lists them with their settings; `apps/` has a task and a producer for each, run in an environment of its own
(`environment.py`) against a server of its own (`servers.py`); `measure.py` measures all of them in the same way.
"""
