"""How much is measured: the full run, or a quick one that only checks that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The counts and durations of one run."""

    jobs: int = 20_000
    single_jobs: int = 4_000
    latency_jobs: int = 300
    scheduled_jobs: int = 100
    slot_rounds: int = 6
    recoveries: int = 3
    idle_s: float = 10.0
    growth_rounds: int = 100
    growth_requests: int = 1_000
    memory_jobs: int = 100_000
    peer_jobs: int = 10_000
    soak_per_s: int = 1_000


FULL = Effort()
QUICK = Effort(
    jobs=3_000, single_jobs=600, latency_jobs=40, scheduled_jobs=20, slot_rounds=2, recoveries=1, idle_s=2.0,
    growth_rounds=10, growth_requests=100, memory_jobs=5_000, peer_jobs=1_000, soak_per_s=200,
)  # fmt: skip
