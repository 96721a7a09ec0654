"""How a claim distributes due jobs over the requests of HTTP workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobyard.engine.store.port import Candidate

MOST_A_CLAIM = 500
CLAIM_BYTES = 4 << 20

Asking = TypeVar("Asking")


@dataclass(slots=True, eq=False)
class _Open(Generic[Asking]):
    """A request that wants `left` more jobs."""

    asking: Asking
    owner: str
    left: int


class LeaseAllocation(Generic[Asking]):
    """See `store.port.Allocation`: jobs go to the requests in turn, to each until it has as many as it wants.

    Of the jobs that may be killing their workers, a worker gets one at a time; where all that ask run such a job, it is skipped.
    """

    def __init__(
        self, askings: Iterable[tuple[Asking, str, int]], *, last_chance: int, runs_lost_job: Callable[[str, int], bool]
    ) -> None:  # fmt: skip
        """`askings`: each request with its owner's name and how many it wants; `last_chance`, `runs_lost_job`: as for `Places`."""
        self._last_chance = last_chance
        self._runs_lost_job = runs_lost_job
        self._open = deque(_Open(*asking) for asking in askings)
        self._left = sum(row.left for row in self._open)
        self._placed: dict[str, deque[Asking]] = {}
        self._risky: dict[str, bool] = {}
        self._count = self._bytes = 0

    @property
    def is_batch_full(self) -> bool:
        """Whether the claim is as large as one may be, although there may be room for more."""
        return self._count >= MOST_A_CLAIM or self._bytes >= CLAIM_BYTES

    @property
    def most(self) -> int:
        """How many jobs can still be placed at most."""
        return 0 if self.is_batch_full else min(self._left, MOST_A_CLAIM - self._count)

    def place(self, candidate: Candidate) -> str | None:
        """The owner of the request that gets the job."""
        is_risky = candidate.lost_count >= self._last_chance
        row = next((row for row in self._open if not (is_risky and self._is_risky(row.owner))), None)
        if row is None:
            return None
        if is_risky:
            self._risky[row.owner] = True
        self._placed.setdefault(row.owner, deque()).append(row.asking)
        row.left -= 1
        if not row.left:
            self._open.remove(row)
        self._left -= 1
        self._count += 1
        self._bytes += candidate.size
        return row.owner

    def asked_for(self, owner: str) -> Asking:
        """The request that gets the next of the claimed jobs of this owner, which are in the order of their placing."""
        return self._placed[owner].popleft()

    def _is_risky(self, owner: str) -> bool:
        if owner not in self._risky:
            self._risky[owner] = self._runs_lost_job(owner, self._last_chance)
        return self._risky[owner]
