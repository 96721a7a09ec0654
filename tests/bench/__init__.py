"""The benchmark: a system of its own, loads, measures, a table. `bin/bench --help` says how; `figures.py` says what is measured.

It talks to the system as any user does: HTTP, signals, tasks of its own (`tasks.py`). Memory and CPU are read from /proc, and
the count of completed jobs from the database, because asking the system would cost part of what is measured.
"""
