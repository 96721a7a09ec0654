"""The places at workers that the queue has granted to a watcher, and how a claim distributes due jobs over them.

Jobs are placed in claiming order, and the first one that fits nowhere ends the claim: what is due later never overtakes it. Only a
job that may kill its worker (`lifecycle.is_last_chance`) is skipped, where every worker with room already runs such a job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from jobyard.engine.jobs.job import Job
from jobyard.engine.store.port import Candidate
from jobyard.engine.wire.capacity import SLOT_UNITS, Offer

MOST_A_CLAIM = 500
CLAIM_BYTES = 4 << 20
"""A claim ends after this much payload, because it travels as one message."""
RUN_UNITS = 32
"""By so much the room for waiting jobs at two workers may differ."""
NO_UNITS = (0, 0)


class Places:
    """What is left of what was granted."""

    def __init__(self, *, last_chance: int, runs_lost_job: Callable[[str, int], bool]) -> None:
        """`last_chance`: the `lost_count` from which a job runs without others like it at its worker.

        `runs_lost_job(worker, n)`: whether the worker runs a job that was lost at least n times.
        """
        self._last_chance = last_chance
        self._runs_lost_job = runs_lost_job
        self._left: dict[str, list[int]] = {}
        self._granted = 0
        self._costs: dict[str, int] = {}

    @property
    def is_low(self) -> bool:
        """Whether less than half is left of what there was after the last grant."""
        return 2 * self._total() < self._granted

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return self._total() == 0

    def grant(self, offers: Iterable[Offer], costs: Mapping[str, int]) -> None:
        """The queue has granted more places; `costs`: units by task, as far as they have changed."""
        self._costs.update(costs)
        for offer in offers:
            left = self._left.setdefault(offer.owner, [0, 0])
            left[0] += offer.free
            left[1] += offer.ahead
        self._granted = self._total()

    def withdraw(self, worker: str) -> None:
        """The worker takes nothing more."""
        self._left.pop(worker, None)
        self._granted = self._total()

    def clear(self) -> None:
        """Forget everything: the queue that granted it is gone, or has it back."""
        self._left.clear()
        self._granted = 0

    def allocation(self) -> ClaimAllocation:
        """The allocation for one claim; `use` then takes what was really claimed."""
        left = {worker: [*units] for worker, units in self._left.items()}
        return ClaimAllocation(left, self._costs, last_chance=self._last_chance, runs_lost_job=self._runs_lost_job)

    def use(self, worker: str, jobs: Iterable[Job]) -> int:
        """These jobs have begun at the worker; returns their units."""
        units = sum(self.cost(job.task) for job in jobs)
        if worker in self._left:
            _take(self._left[worker], units)
        return units

    def cost(self, task: str) -> int:
        """The units that a job of this task takes."""
        return self._costs.get(task, SLOT_UNITS)

    def _total(self) -> int:
        return sum(free + ahead for free, ahead in self._left.values())


class ClaimAllocation:
    """See `store.port.Allocation`."""

    def __init__(
        self, left: dict[str, list[int]], costs: Mapping[str, int], *, last_chance: int, runs_lost_job: Callable[[str, int], bool]
    ) -> None:  # fmt: skip
        self._left = left
        self._costs = costs
        self._last_chance = last_chance
        self._runs_lost_job = runs_lost_job
        self._taken_by: set[str] = set()
        self._last = ""
        self._bytes = self._placed = 0
        self.lacking = 0
        """The units of the job that no worker has room for; 0 if there was none."""
        self.has_skipped = False
        """Whether a job may begin at no worker now, although there is room."""
        self.smallest = min(costs.values(), default=SLOT_UNITS)
        """The units of the cheapest job."""
        self._units = sum(map(self._usable, left.values()))

    @property
    def most(self) -> int:
        """How many jobs can still be placed at most."""
        if self.lacking or self.is_batch_full:
            return 0
        return min(MOST_A_CLAIM - self._placed, self._units // self.smallest)

    @property
    def is_batch_full(self) -> bool:
        """Whether the claim is as large as one may be, although there may be room for more."""
        return self._placed >= MOST_A_CLAIM or self._bytes >= CLAIM_BYTES

    def place(self, candidate: Candidate) -> str | None:
        """The worker for this job; None if none can take it (then the allocation is full) or may (then it is not)."""
        cost = self._costs.get(candidate.task, SLOT_UNITS)
        worker = self._worker_for(cost, self._left)
        if worker is None:
            self.lacking = cost
            return None
        if candidate.lost_count >= self._last_chance:
            worker = self._worker_for(cost, {name: self._left[name] for name in self._left if not self._has_last_chance(name)})
            if worker is None:
                self.has_skipped = True
                return None
            self._taken_by.add(worker)
        self._last = worker
        units = self._left[worker]
        self._units -= self._usable(units)
        _take(units, cost)
        self._units += self._usable(units)
        self._placed += 1
        self._bytes += candidate.size
        return worker

    def _usable(self, units: list[int]) -> int:
        """Of the units of a worker, those for the cheapest job."""
        return units[0] if self.smallest == SLOT_UNITS else units[0] + units[1]

    def _worker_for(self, cost: int, left: Mapping[str, list[int]]) -> str | None:
        """Long jobs go to the worker with the most room; short ones to the first, since few executors suffice for them.

        Short ones that are to wait go to the workers in turn, but in runs: a worker settles what ran together in one commit, which
        writes fewer pages if the jobs are neighbours.
        """
        if cost < SLOT_UNITS:
            for worker, units in left.items():
                if units[0] >= cost:
                    return worker
        position = 0 if cost == SLOT_UNITS else 1
        best, most = None, cost - 1
        if position and left.get(self._last, NO_UNITS)[1] >= cost:
            best, most = self._last, left[self._last][1] + RUN_UNITS
        for worker, units in left.items():
            if units[position] > most:
                best, most = worker, units[position]
        return best

    def _has_last_chance(self, worker: str) -> bool:
        return worker in self._taken_by or self._runs_lost_job(worker, self._last_chance)


def _take(left: list[int], units: int) -> None:
    from_free = min(left[0], units)
    left[0] -= from_free
    left[1] = max(0, left[1] - (units - from_free))
