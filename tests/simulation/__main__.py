"""`python -m tests.simulation`: runs seeds from START on for SECONDS (60) and prints those that fail; given seeds, their traces."""

from __future__ import annotations

import os
import sys
import time

from tests.simulation.runner import RunFailed, Runner


def main(seeds: list[int]) -> int:
    """The exit status: 1 when a run failed."""
    runner = Runner()
    try:
        return _print_traces(runner, seeds) if seeds else _search(runner)
    finally:
        runner.close()


def _print_traces(runner: Runner, seeds: list[int]) -> int:
    status = 0
    for seed in seeds:
        try:
            run = runner.execute(seed)
            print(run.event_queue.format_trace())
        except RunFailed as failed:
            print(failed.run.event_queue.format_trace())
            status = 1
    return status


def _search(runner: Runner) -> int:
    seconds = float(os.environ.get("SECONDS", "60"))
    seed = first = int(os.environ.get("START", "0"))
    ends_at = time.monotonic() + seconds
    failures = 0
    while time.monotonic() < ends_at:
        try:
            runner.execute(seed)
        except RunFailed as failed:
            failures += 1
            print(failed, flush=True)
        seed += 1
    print(f"{seed - first} runs, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))
