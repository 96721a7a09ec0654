"""The one producer: `produce.py APP many FIRST COUNT`, `… one FIRST COUNT` or `… hold FIRST COUNT SECONDS`.

APP is a module beside this file with `submit(number)`, `submit_many(numbers)` and `submit_hold(number, seconds)`. Prints JSON.
`one` waits for each job to run, and for the system to become idle, before the next.
"""

import importlib
import json
import sys
import time

from marks import signed_ns

POLL_S = 0.0002
REST_S = 0.02
MAX_S = 30.0


def submit_one(app, number):
    """The time until the job runs, in ms; None when it does not run."""
    began_ns = time.monotonic_ns()
    app.submit(number)
    while not signed_ns(number):
        if time.monotonic_ns() - began_ns > MAX_S * 1e9:
            return None
        time.sleep(POLL_S)
    time.sleep(REST_S)
    return (signed_ns(number) - began_ns) / 1e6


def main(name, how, first, count, *rest):
    """Submit the requested jobs."""
    app = importlib.import_module(name)
    numbers = range(int(first), int(first) + int(count))
    report = {"began_ns": time.monotonic_ns()}
    if how == "many":
        app.submit_many(numbers)
    elif how == "hold":
        for number in numbers[::2]:
            app.submit_hold(number, float(rest[0]))
    else:
        report["waits_ms"] = []
        for number in numbers:
            wait_ms = submit_one(app, number)
            if wait_ms is None:
                break
            report["waits_ms"].append(wait_ms)
    report["ended_ns"] = time.monotonic_ns()
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
