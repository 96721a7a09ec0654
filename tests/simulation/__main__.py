"""`python -m tests.simulation`: runs seeds for SECONDS (60) from START on, and tells those that fail; with seeds, their traces."""

from __future__ import annotations

import os
import sys
import time

from tests.simulation.run import Failed, Stage


def main(seeds: list[int]) -> int:
    """The exit status: 1 when a run failed."""
    stage = Stage()
    try:
        return _tell(stage, seeds) if seeds else _search(stage)
    finally:
        stage.close()


def _tell(stage: Stage, seeds: list[int]) -> int:
    status = 0
    for seed in seeds:
        try:
            run = stage.play(seed)
            print(run.agenda.told())
        except Failed as failed:
            print(failed.run.agenda.told())
            status = 1
    return status


def _search(stage: Stage) -> int:
    seconds = float(os.environ.get("SECONDS", "60"))
    seed = first = int(os.environ.get("START", "0"))
    ends_at = time.monotonic() + seconds
    failures = 0
    while time.monotonic() < ends_at:
        try:
            stage.play(seed)
        except Failed as failed:
            failures += 1
            print(failed, flush=True)
        seed += 1
    print(f"{seed - first} runs, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))
