"""`bin/bench`: starts a system, measures it, prints the table, writes the JSON file, and leaves nothing behind."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench import against, calibration, cost, latency, outage, recovery, report, scale, soak, speed
from tests.bench.effort import FULL, QUICK, Effort
from tests.bench.figures import KINDS, Figure, figure
from tests.bench.peers.compare import measure_peers
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System, running_system
from tests.bench.table import Table

EXIT_OK, EXIT_FAILED, EXIT_STOPPED = 0, 1, 130

Measure = Callable[[System, StartRecorder, Effort], Iterator[Figure]]

MEASURES: dict[str, Measure] = {
    "idle": cost.measure_idle,
    "latency": latency.measure_latency,
    "lateness": latency.measure_lateness,
    "single": speed.measure_single,
    "batch": speed.measure_batch,
    "end-to-end": speed.measure_end_to_end,
    "single-end-to-end": speed.measure_single_end_to_end,
    "drain": speed.measure_drain,
    "cost-per-job": cost.measure_cost_per_job,
    "slots": cost.measure_slots,
    "growth": cost.measure_growth,
    "recovery": recovery.measure_recovery,
    "outage": outage.measure_outage,
    "hang": outage.measure_hang,
    "memory": cost.measure_memory,
    "restart": outage.measure_restart,
}
"""In the order of measurement: first what needs a fresh system, last what leaves traces."""


def main(words: Sequence[str]) -> int:
    """The exit status: 0 when everything could be measured, whatever the results."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _read(words)
    seen: list[Figure | Table] = []
    print(report.head(), flush=True)
    try:
        for measured in _measure(options):
            seen.append(measured)
            print(report.as_text(measured), flush=True)
    except KeyboardInterrupt:
        return EXIT_STOPPED
    except Exception as fault:
        print(f"the measurement failed: {fault}", file=sys.stderr)
        return EXIT_FAILED
    finally:
        asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items() if name != "json"}
        report.write_json(options.json, seen, options=asked)
    return EXIT_OK


def _measure(options: argparse.Namespace) -> Iterator[Figure | Table]:
    effort = _effort(options)
    if options.against:
        yield from against.measure_against(options.against, _of_one_run(options), rounds=options.rounds)
    elif options.scale:
        yield from scale.measure_scale(effort, most=options.scale)
    elif options.soak:
        yield from soak.measure_soak(effort, seconds=options.soak, plots=options.plots)
    elif options.peers is not None:
        yield from measure_peers(effort, only=options.peers)
    else:
        yield from _figures(options, effort)


def _figures(options: argparse.Namespace, effort: Effort) -> Iterator[Figure]:
    with running_system() as system:
        yield figure("calibration_loop_per_s", calibration.loop_per_s())
        yield figure("calibration_fsync_per_s", calibration.fsync_per_s(system.folder))
        start_recorder = StartRecorder(system.folder)
        try:
            for name in options.only or MEASURES:
                yield from MEASURES[name](system, start_recorder, effort)
        finally:
            start_recorder.close()
        yield figure("stop_s", system.stop())


def _of_one_run(options: argparse.Namespace) -> list[str]:
    """The options that each side of a comparison is given."""
    only = [word for name in options.only or () for word in ("--only", name)]
    return [*only, *(["--quick"] if options.quick else []), *(["--jobs", str(options.jobs)] if options.jobs else [])]


def _effort(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else FULL
    return dataclasses.replace(effort, jobs=options.jobs) if options.jobs else effort


def _read(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/bench", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Starts its own system on free ports, measures it, prints a table and writes JSON.",
        epilog="figures:\n" + "\n".join(f"  {kind.name:<34}{kind.meaning} ({kind.unit})" for kind in KINDS.values()),
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small counts: checks that everything works; the figures are rough")
    names = ", ".join(MEASURES)
    parser.add_argument("--only", action="append", choices=list(MEASURES), metavar="NAME", help=f"one of {names}; repeatable")
    jobs = f"jobs in each batch measurement ({FULL.jobs}, quick {QUICK.jobs})"
    parser.add_argument("--jobs", type=int, metavar="N", help=jobs)
    description = f"only: how cost grows with clients and with stored jobs, to MOST ({scale.DEFAULT_MOST}; {scale.SIZES[-1]}: 6 GB)"
    parser.add_argument("--scale", type=int, nargs="?", const=scale.DEFAULT_MOST, metavar="MOST", help=description)
    description = "only: compare other job systems (all, or those with NAME in their name); installs them separately"
    parser.add_argument("--peers", nargs="?", const="", metavar="NAME", help=description)
    description = "only: measure an earlier commit and this checkout in turn, and print the ratios"
    parser.add_argument("--against", metavar="COMMIT", help=description)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="with --against: runs of each (3)")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="only: a steady load for this long, with plots")
    parser.add_argument("--plots", type=Path, default=Path("bench-plots"), metavar="DIR", help="where to draw them (bench-plots)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE", help="where to write them (bench.json)")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
