"""The parts of the soak: repeating threads, and the summary of the samples."""

from __future__ import annotations

import threading

import pytest

from tests.bench.soak import RepeatingThread, Sample, rows
from tests.support.waiting import LIMIT_S


def a_sample(**fields: object) -> Sample:
    values: dict[str, object] = {
        "at_s": 1.0, "jobs_per_s": 100.0, "waits_ms": [4.0], "memory_mib": 150.0, "cpu_percent": 50.0, "log_mib": 4.0,
    }  # fmt: skip
    return Sample(**(values | fields))  # type: ignore[arg-type]


def test_a_repeating_thread_repeats_until_it_ends() -> None:
    done, enough = [], threading.Event()

    def action() -> None:
        done.append(1)
        if len(done) == 3:
            enough.set()

    busy = RepeatingThread(action, every_s=0.0)
    busy.start()

    assert enough.wait(LIMIT_S)
    busy.end()
    assert not busy.is_alive()


def test_a_repeating_thread_raises_its_error_at_the_end() -> None:
    busy = RepeatingThread(lambda: 1 // 0, every_s=0.0)
    busy.start()

    with pytest.raises(ZeroDivisionError):
        busy.end()


def test_samples_are_summarized() -> None:
    samples = [a_sample(jobs_per_s=float(number), waits_ms=[float(number)], memory_mib=150.0 + number) for number in range(20)]

    summary = dict(rows(samples))

    assert summary["jobs/s in a sample, least … most"] == "0 … 19.0"
    assert (summary["submit to start ms, p50"], summary["submit to start ms, p100"]) == ("9", "19.0")
    assert (summary["memory MiB, most in the first tenth"], summary["memory MiB, most in the last tenth"]) == ("151", "169")
    assert summary["CPU, % of a core"] == "50.0"
