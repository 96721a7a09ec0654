"""THE messages between processes. Every one is a frozen value, coded as msgpack with its type's name as tag.

A client of a component sends a request and waits for one reply on the same connection. Of submissions many may be on their way on
one connection (`Submits`): their replies have numbers. Watchers and workers keep one
connection each to the queue, on which either side speaks when it has something to say. Hints are single datagrams that may be
lost: they only make sooner what the next poll would find anyway.

    front ─ Submit Find List … ─▶ scheduler            front ─ Ping ─▶ every component
    scheduler, worker ─ Wake (hint) ─▶ watcher         supervisor ─ OwnersDied (hint) ─▶ watcher
    scheduler ─ CancelAsked (hint) ─▶ worker, queue    worker ─ Run ─▶ executor ─ Done Progressed ─▶ worker

    watcher ─ Reserve ─▶ queue ─ Room ─▶ watcher       worker ─ Want ─▶ queue ─ Leased ─▶ worker
    watcher ─ Push ────▶ queue ─ Pushed ▶ watcher      worker ─ Extend Ack Release ─▶ queue
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import JobFilter, Outcome, Output, Ticket
from jobyard.engine.jobs.lifecycle import Verb
from jobyard.engine.why.facts import ProcessReport


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Base of everything that goes over the wire."""


# ---- requests to a scheduler -------------------------------------------------------------------------------------


class Submit(Message, frozen=True):
    """Store new jobs. `form` says what `body` is: `job` (one JSON object), `batch` ({"jobs": […]}) or `ndjson`.

    `first_id` begins the run of ids that the sender reserved, so that the same request sent twice stores one job.
    After `deadline` (monotonic seconds of this host) it must not be stored any more. `is_again`: it was sent before, to somebody
    who may have stored it and has not said so; then it is looked up before it is refused for want of time or room.
    """

    form: str
    body: bytes
    first_id: str
    deadline: float
    idempotency_key: str | None = None
    is_again: bool = False
    request_id: str = ""


class Submits(Message, frozen=True):
    """What one sender has to submit at this moment, each for itself. The numbers of their replies count on from `first_number`."""

    first_number: int
    submits: list[Submit]


class Find(Message, frozen=True):
    """One job by id; answered with `Json` or `Refused`."""

    job_id: str


class List(Message, frozen=True):
    """A page of jobs; answered with `Json` (an array, with the cursor of the next page)."""

    limit: int = 100
    cursor: str | None = None
    wanted: JobFilter = JobFilter()


class ListExecutions(Message, frozen=True):
    """The attempts at a job; answered with `Json` (an array) or `Refused`."""

    job_id: str


class ListOutputs(Message, frozen=True):
    """What the attempts at a job printed; answered with `Outputs` or `Refused`."""

    job_id: str


class WatchCompletion(Message, frozen=True):
    """The sender waits for the end of these jobs, and of those no longer; answered with `Ended`, once for each, when it comes."""

    job_ids: list[str]
    no_longer: list[str] = []


class CancelJob(Message, frozen=True):
    """Cancel a job, or ask its worker to; answered with `Json` (the job) or `Refused`."""

    job_id: str
    request_id: str = ""


class RetryJob(Message, frozen=True):
    """Give a failed or cancelled job a fresh set of retries; answered with `Json` (the job) or `Refused`."""

    job_id: str
    request_id: str = ""


class ChangeMany(Message, frozen=True):
    """Cancel or retry (`verb`) a share of the jobs that the JSON `body` selects; answered with `Json` (an object) or `Refused`."""

    verb: Verb
    body: bytes
    request_id: str = ""


class ListTasks(Message, frozen=True):
    """The tasks that some host knows, by name; answered with `Json` (an array)."""


class Explain(Message, frozen=True):
    """Why is this job not running? `site`: what the front sees of this host. Answered with `Json` (an object) or `Refused`."""

    job_id: str
    report: ProcessReport


class CountJobs(Message, frozen=True):
    """Jobs by status; answered with `Json` (an object)."""


class CountMatching(Message, frozen=True):
    """How many such jobs there are, as far as that is cheap to say; answered with `Json` (an object)."""

    wanted: JobFilter = JobFilter()


# ---- requests to every component ------------------------------------------------------------------------------------


class Ping(Message, frozen=True):
    """Are you well? Answered with `Json` (an object of details) or `Refused` with what is wrong."""


class GetPlace(Message, frozen=True):
    """→ queue: where is this job in it? Answered with `Json` (a `Place`)."""

    job_id: str


class GetItems(Message, frozen=True):
    """What the queue holds, in the order of handing out; answered with `Json` (an object)."""

    limit: int = 100


class GetOutput(Message, frozen=True):
    """To a worker: what this attempt, which runs there, has printed so far; answered with `OutputNow`."""

    job_id: str
    attempt: int


# ---- replies ---------------------------------------------------------------------------------------------------------


class Accepted(Message, frozen=True):
    """The jobs are stored and on disk; `repeated` of them were there before by their idempotency keys."""

    job_ids: list[str]
    repeated: int = 0


class Begun(Message, frozen=True):
    """Not the reply yet: from now on the request may be stored, and its sender should wait for what came of it."""


class Expired(Message, frozen=True):
    """Nothing of the request is stored, and nothing will be: its deadline was over when that was looked at."""


class Json(Message, frozen=True):
    """An answer as JSON text, ready to be sent on."""

    body: bytes
    cursor: str | None = None


class Outputs(Message, frozen=True):
    """One for each of the latest attempts, oldest first. `worker` is the process that runs the last of them, if one does."""

    outputs: list[Output]
    worker: str | None = None


class OutputNow(Message, frozen=True):
    """None: that attempt is not here, or no longer."""

    output: Output | None


class Ended(Message, frozen=True):
    """These jobs have ended, or are not there."""

    job_ids: list[str]


class Refused(Message, frozen=True):
    """An error as `errors` names it. `temporary` with `retry_after_s`: the same request may succeed later."""

    code: str
    message: str
    field: str | None = None
    retry_after_s: int | None = None


class Replied(Message, frozen=True):
    """To some of the `Submits` that came on this connection, in any order, each by its number."""

    replies: list[tuple[int, Accepted | Begun | Expired | Refused]]


# ---- the queue ------------------------------------------------------------------------------------------------------


class Reserve(Message, frozen=True):
    """Watcher → queue: keep room for up to so many of each priority 0 to 9. Replaces what was reserved before."""

    wanted: list[int]


class Room(Message, frozen=True):
    """Queue → watcher: so many of each priority may be pushed; also sent unasked when room opens after a refusal."""

    granted: list[int]


class Push(Message, frozen=True):
    """Watcher → queue: these jobs are queued in the store. Idempotent by (`job_id`, `epoch`); uses up the reservation."""

    tickets: list[Ticket]


class Pushed(Message, frozen=True):
    """Queue → watcher: all of the last `Push` is taken (`known`: how many of it the queue had already)."""

    taken: int
    known: int


class Want(Message, frozen=True):
    """Worker → queue: send up to so many tickets as soon as there are any. Replaces an earlier wish; 0 withdraws it."""

    count: int
    worker: str


class Leased(Message, frozen=True):
    """Queue → worker: these are yours until the lease runs out."""

    tickets: list[Ticket]
    lease_s: float


class Extend(Message, frozen=True):
    """Worker → queue: still at work on these leases, each a job_id and its ticket's epoch."""

    leases: list[tuple[str, int]]


class Ack(Message, frozen=True):
    """Worker → queue: done with these (job_id, epoch), whatever came of them."""

    leases: list[tuple[str, int]]


class Release(Message, frozen=True):
    """Worker → queue: these (job_id, epoch) are not begun, take them back."""

    leases: list[tuple[str, int]]


# ---- hints ------------------------------------------------------------------------------------------------------------


class Wake(Message, frozen=True):
    """→ watcher: there is a job due at this time, sooner than you may know."""

    due_at: datetime


class CancelAsked(Message, frozen=True):
    """→ worker, queue: somebody asked to cancel this job, which has this epoch since: tickets of earlier ones are void.

    A hint may come late, when the job was retried and queued again.
    """

    job_id: str
    epoch: int


class OwnersDied(Message, frozen=True):
    """→ watcher: the roster has new dead owners (the hint only says: look now)."""

    owners: list[str]


# ---- worker and executor -------------------------------------------------------------------------------------------


class Run(Message, frozen=True):
    """Worker → executor: run one attempt. `is_behind`: others wait or run before it in the same child."""

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    payload: bytes
    timeout_s: float
    is_behind: bool = False


class Done(Message, frozen=True):
    """Executor → worker: how the attempt ended, and how long it ran in the child, in seconds. `is_spent`: the child leaves now."""

    job_id: str
    attempt: int
    outcome: Outcome
    elapsed_s: float
    is_spent: bool = False


class Progressed(Message, frozen=True):
    """Executor → worker: the task says how far it is (0 to 1) and, in words, where."""

    job_id: str
    attempt: int
    fraction: float
    note: str


# ---- what the hub itself tells its role --------------------------------------------------------------------------


class Closed(Message, frozen=True):
    """This peer is gone; nothing more comes from it."""


class Ready(Message, frozen=True):
    """A watched file descriptor is readable."""

    fd: int


MESSAGES = (
    Submit | Submits | Find | List | ListExecutions | CancelJob | RetryJob | ChangeMany | ListTasks | CountJobs | CountMatching
    | ListOutputs | Explain | GetPlace | GetOutput | Outputs | OutputNow | Ping | GetItems
    | WatchCompletion | Ended | Accepted | Begun | Expired | Replied | Json | Refused | Reserve | Room
    | Push | Pushed | Want | Leased | Extend | Ack | Release | Wake | CancelAsked | OwnersDied | Run | Done | Progressed
)  # fmt: skip
"""All that may be decoded; `Closed` and `Ready` never travel."""
