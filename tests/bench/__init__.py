"""The benchmark: a system of its own, loads, measures, a table. `bin/bench --help` says how; `figures.py` says what is measured.

It talks to the system as any user does: HTTP, signals, tasks of its own (`tasks.py`). Only memory and CPU are read from /proc.
"""
