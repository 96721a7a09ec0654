"""`python -m tests.bench.plots soak.json FOLDER`: throughput, latency and memory of a soak as PNG. Needs the extra `bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes

from tests.bench.percentiles import moving_percentile

SIZE = (9.0, 2.8)
DPI = 110
MINUTE_S = 60
OVER_S = 20.0
BLUE, ORANGE, GREY = "#2563a8", "#d9822b", "#9aa5b1"

Samples = Sequence[dict[str, Any]]


def main(file: str, folder: str) -> None:
    """Draw all plots of these samples."""
    matplotlib.use("Agg")
    samples = json.loads(Path(file).read_text())
    for name, draw in (("throughput", _throughput), ("latency", _latency), ("memory", _memory)):
        figure, axes = pyplot.subplots(figsize=SIZE, dpi=DPI, layout="constrained")
        draw(axes, samples)
        axes.set_xlabel("minutes")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize="small", frameon=False, ncols=3)
        figure.savefig(Path(folder) / f"soak-{name}.png", metadata={"Software": None})
        pyplot.close(figure)


def _throughput(axes: Axes, samples: Samples) -> None:
    axes.plot(_minutes(samples), _values(samples, "jobs_per_s"), color=BLUE, linewidth=1, label="jobs completed a second")
    axes.set_ylabel("jobs/s")


def _latency(axes: Axes, samples: Samples) -> None:
    for percent, colour in ((99, GREY), (95, ORANGE), (50, BLUE)):
        values = moving_percentile([(each["at_s"], each["waits_ms"]) for each in samples], percent, over_s=OVER_S)
        axes.plot(_minutes(samples), values, color=colour, linewidth=1, label=f"p{percent} of {OVER_S:.0f} s")
    axes.set_ylabel("submit to start, ms")


def _memory(axes: Axes, samples: Samples) -> None:
    axes.plot(_minutes(samples), _values(samples, "memory_mib"), color=BLUE, linewidth=1, label="PSS of all processes")
    axes.plot(_minutes(samples), _values(samples, "log_mib"), color=ORANGE, linewidth=1, label="the database's log on disk")
    axes.set_ylabel("MiB")


def _minutes(samples: Samples) -> list[float]:
    return [each["at_s"] / MINUTE_S for each in samples]


def _values(samples: Samples, name: str) -> list[float]:
    return [each[name] for each in samples]


if __name__ == "__main__":
    main(*sys.argv[1:])
