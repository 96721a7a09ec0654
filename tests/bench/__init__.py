"""The benchmark: starts its own system, loads it, measures it, and prints a table. See `bin/bench --help` and `figures.py`.

It uses the system as any user does: by HTTP, signals and its own tasks (`task_modules`). Memory and CPU are read from /proc, and
the number of completed jobs from the database, because asking the system would distort what is measured.
"""
