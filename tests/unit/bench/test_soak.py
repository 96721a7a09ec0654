"""The soak's own parts: what is done all the while, and what is told of the samples."""

from __future__ import annotations

import threading

import pytest

from tests.bench.soak import Busy, Sample, rows


def a_sample(**fields: object) -> Sample:
    values: dict[str, object] = {
        "at_s": 1.0, "jobs_per_s": 100.0, "waits_ms": [4.0], "memory_mib": 150.0, "cpu_percent": 50.0, "log_mib": 4.0,
    }  # fmt: skip
    return Sample(**(values | fields))  # type: ignore[arg-type]


def test_what_is_done_all_the_while_is_done_until_the_end() -> None:
    done, enough = [], threading.Event()

    def doing() -> None:
        done.append(1)
        if len(done) == 3:
            enough.set()

    busy = Busy(doing, every_s=0.0)
    busy.start()

    assert enough.wait(10)
    busy.end()
    assert not busy.is_alive()


def test_what_goes_wrong_meanwhile_is_told_at_the_end() -> None:
    busy = Busy(lambda: 1 // 0, every_s=0.0)
    busy.start()

    with pytest.raises(ZeroDivisionError):
        busy.end()


def test_samples_are_told_in_short() -> None:
    samples = [a_sample(jobs_per_s=float(number), waits_ms=[float(number)], memory_mib=150.0 + number) for number in range(20)]

    told = dict(rows(samples))

    assert told["jobs/s in a sample, least … most"] == "0 … 19.0"
    assert (told["submit to start ms, p50"], told["submit to start ms, p100"]) == ("9", "19.0")
    assert (told["memory MiB, most in the first tenth"], told["memory MiB, most in the last tenth"]) == ("151", "169")
    assert told["CPU, % of a core"] == "50.0"
