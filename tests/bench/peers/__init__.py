"""`bin/bench --peers`: what others need for the same, in the same run on the same machine, beside our own figures.

`catalogue.py` says who they are and how they are set; `apps/` has a task and a producer for each, run in an environment of its own
(`environment.py`) against a server of its own (`servers.py`); `race.py` measures all alike.
"""
