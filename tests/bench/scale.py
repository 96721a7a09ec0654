"""`bin/bench --scale`: how the cost grows with the stored jobs (1 thousand to 10 million) and with the clients (1 to 16).

Measures first the store alone (`growth.py`), then a running system on each of the same databases. Needs 400 MB of disk per million
jobs, in a temporary folder that is removed afterwards.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobyard.engine.databases.open import DATABASE_FILE
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.growth import costs_us
from tests.bench.load import Load, LoadResult, send
from tests.bench.percentiles import percentile
from tests.bench.prefilled_database import BYTES_A_JOB, create_database
from tests.bench.report import digits
from tests.bench.system import System, running_system
from tests.bench.table import Table

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DEFAULT_MOST = 1_000_000
CLIENTS = (1, 2, 4, 8, 16)
PAGE = "/api/jobs?limit=100"
CLAIM, LIST = "claim 100", "list 100"


class NotEnoughDisk(Exception):
    """There is not enough disk space for the jobs."""


def measure_scale(effort: Effort, *, most: int) -> Iterator[Figure | Table]:
    """Measure all sizes up to `most`."""
    sizes = [size for size in SIZES if size <= most]
    with tempfile.TemporaryDirectory(prefix="jobyard-scale-") as name:
        _check_disk(Path(name), sum(sizes))
        folders = {size: Path(name) / str(size) for size in sizes}
        for size, folder in folders.items():
            (folder / "data").mkdir(parents=True, mode=0o700)
            create_database(folder / "data" / DATABASE_FILE, size)
        yield from _store_alone(folders, effort)
        for size, folder in folders.items():
            yield _whole_system(folder, size, effort)
            shutil.rmtree(folder)


def _check_disk(folder: Path, jobs: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < jobs * BYTES_A_JOB:
        raise NotEnoughDisk(
            f"{folder} has {free >> 20:,} MiB free, {jobs:,} jobs may need {jobs * BYTES_A_JOB >> 20:,}: set TMPDIR"
        )


def _store_alone(folders: dict[int, Path], effort: Effort) -> Iterator[Figure | Table]:
    costs = costs_us({size: folder / "data" for size, folder in folders.items()}, rounds=effort.growth_rounds)
    sizes = list(folders)
    yield Table(
        name="growth", title="cost in µs by the number of stored jobs, the store alone", columns=["", *_words(sizes), "ratio"],
        rows=[[name, *(digits(by_size[size]) for size in sizes), f"{_ratio(by_size):.2f}"] for name, by_size in costs.items()],
        note="Median; ratio: most against fewest. One of ten is pending in the future, the others are completed.",
    )  # fmt: skip
    note = f"{sizes[-1]:,} jobs stored against {sizes[0]:,}, the store alone"
    yield figure("claim_growth", _ratio(costs[CLAIM]), note)
    yield figure("list_growth", _ratio(costs[LIST]), note)


def _whole_system(folder: Path, size: int, effort: Effort) -> Table:
    with running_system(folder) as system:
        rows = [_row(system, clients, effort) for clients in CLIENTS]
        title = f"{size:,} jobs stored, by the number of clients (ready {system.start_s:.1f} s after the start)"
    columns = ["clients", "lists/s", "list p50 ms", "list p99 ms", "submits/s", "submit p50 ms", "submit p99 ms", "run/s"]
    return Table(name=f"clients_{size}", title=title, columns=columns, rows=rows)


def _row(system: System, clients: int, effort: Effort) -> list[str]:
    load = Load(port=system.port, method="GET", path=PAGE, body="", requests=effort.growth_requests, connections=clients)
    lists = send(load)
    already = system.completed()
    jobs = Load(
        port=system.port, path="/api/jobs", body=json.dumps({"payload": "test job"}), requests=effort.growth_requests * 2,
        connections=clients,
    )  # fmt: skip
    submits = send(jobs)
    ended_ns = system.wait_completed(already + submits.accepted)
    to_the_end_per_s = submits.accepted * 1e9 / (ended_ns - submits.began_ns)
    return [str(clients), *_formatted(lists), *_formatted(submits), digits(to_the_end_per_s)]


def _formatted(sent: LoadResult) -> list[str]:
    return [digits(sent.accepted / sent.seconds), *(digits(percentile(sent.waits_ms, percent)) for percent in (50, 99))]


def _ratio(by_size: dict[int, float]) -> float:
    return by_size[max(by_size)] / by_size[min(by_size)]


def _words(sizes: Sequence[int]) -> list[str]:
    return [f"{size:,}" for size in sizes]
