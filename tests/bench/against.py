"""`bin/bench --against COMMIT`: the same measurements here and in a checkout of an earlier commit, in turn, as ratios.

Each side measures with its own benchmark, so a figure is compared only where both have it. What else the machine does hits both
sides alike, because they alternate; the ratio of a pair of neighbouring runs is less noisy than the ratio of two averages.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import KINDS
from tests.bench.report import digits
from tests.bench.table import Table
from tests.support.system import CHECKOUT

Figures = dict[str, float]
COLUMNS = ("", "unit", "then", "now", "now ÷ then", "range")
RUN_S = 3600


@dataclass(frozen=True, slots=True)
class Side:
    """A checkout that measures itself."""

    folder: Path

    def measure(self, options: Sequence[str]) -> Figures:
        """One run of its benchmark. Raises `RuntimeError` with its last words if it fails."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            command = [self.folder / "bin" / "bench", "--json", file.name, *options]
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=RUN_S, check=False)
            if done.returncode:
                raise RuntimeError(f"{self.folder / 'bin' / 'bench'} failed: {done.stderr.strip().rpartition(chr(10))[2]}")
            return {name: figure["value"] for name, figure in json.loads(Path(file.name).read_text())["figures"].items()}


def measure_against(commit: str, options: Sequence[str], *, rounds: int) -> Iterator[Table]:
    """One table. `commit`: anything that git understands; `options`: those of one run, such as `--only`."""
    with tempfile.TemporaryDirectory(prefix="jobyard-then-") as name:
        then = checkout_of(commit, Path(name) / "checkout")
        pairs = []
        for count in range(rounds):
            print(f"round {count + 1} of {rounds} …", file=sys.stderr, flush=True)
            pairs.append((Side(then).measure(options), Side(CHECKOUT).measure(options)))
    yield Table(
        name="against", title=f"This checkout compared with {commit}, in turn", columns=COLUMNS, rows=rows_of(pairs),
        note=f"Medians of {rounds} runs of each; the ratios are of neighbouring runs, their range in the last column.",
    )  # fmt: skip


def checkout_of(commit: str, folder: Path) -> Path:
    """A clone of this repository at that commit. Raises `ValueError` when there is no such commit."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", CHECKOUT, folder], check=True, timeout=RUN_S)
    done = subprocess.run(
        ["git", "-C", folder, "checkout", "--quiet", "--detach", commit], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    if done.returncode:
        raise ValueError(f"--against: no commit {commit!r} in this repository")
    return folder


def rows_of(pairs: Sequence[tuple[Figures, Figures]]) -> list[list[str]]:
    """A row for each figure that every run has, in the order of `KINDS`."""
    common = [name for name in KINDS if all(name in side for pair in pairs for side in pair)]
    return [_row(name, [(then[name], now[name]) for then, now in pairs]) for name in common]


def _row(name: str, pairs: Sequence[tuple[float, float]]) -> list[str]:
    then, now = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [new / old for old, new in pairs if old]
    ratio = [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"] if ratios else ["–", "–"]
    return [name, KINDS[name].unit, digits(then), digits(now), *ratio]
