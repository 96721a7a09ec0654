"""What is to be written for the requests of one round of submissions; values only, see `mongo.insert`."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.unique import Verdict
from jobyard.engine.store.mongo.unique_keys import Holder, Remembered
from jobyard.engine.store.port import Inserted
from jobyard.engine.store.request_plan import status_of
from jobyard.engine.store.unique_plan import UniquePlan
from jobyard.engine.store.waiting_plan import NOTHING, Waiting


@dataclass(slots=True)
class Taken:
    """The job that an idempotency key leads to. `verdict`: how the request was answered, where a unique key decided that."""

    job_id: str
    digest: bytes | None
    batch: str | None = None
    verdict: Verdict | None = None


@dataclass(slots=True)
class Plan:
    """What must be written for a request."""

    number: int
    batch: str
    unique: UniquePlan = field(default_factory=UniquePlan)
    job_ids: list[str] = field(default_factory=list)
    repeated: int = 0
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    remembered: list[Remembered] = field(default_factory=list)
    waiting: Waiting = NOTHING

    @property
    def fresh(self) -> list[Job]:
        """The jobs to be stored."""
        return self.unique.fresh

    @property
    def is_one(self) -> bool:
        """Whether the request is at most one document."""
        return len(self.fresh) < 2

    @property
    def is_mixed(self) -> bool:
        """Whether some of the jobs do not become pending."""
        return any(job.status is not Status.PENDING for job in self.fresh)

    def answer(self) -> Inserted:
        """The answer once all is written."""
        return Inserted(
            job_ids=self.job_ids, repeated=self.repeated, existing=tuple(self.verdicts),
            replaced=tuple(index for index, verdict in self.verdicts.items() if verdict is Verdict.REPLACE),
            replaced_due_at=min((one.due_at for one in self.unique.replacing.values()), default=None),
            status=status_of(self.fresh),
        )  # fmt: skip


@dataclass(slots=True)
class Keys:
    """What a round knows of the requests' keys: `taken` by idempotency key, `holders` by unique key.

    `planned`: the unique keys of jobs that this round is to store; requests that depend on them are decided in the next round.
    """

    taken: dict[str, Taken]
    holders: dict[str, Holder]
    planned: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    """The ids of jobs that are stored already, where another job has their unique key."""


class Undecided:
    """A unique key belongs to a request that is neither stored nor undone yet."""
