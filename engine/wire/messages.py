"""THE messages between processes. Each is an immutable value, encoded as msgpack with its type's name as the tag.

A client of a component sends a request and waits for one reply on the same connection. Many submissions can be in progress on one
connection (`Submits`); their replies are numbered. Watchers and workers each keep one connection to the queue, on which either
side sends when it has something to report. Hints are single datagrams that may be lost: they only announce sooner what the next
poll would find anyway.

    front ─ Submit Find List … ─▶ scheduler            front ─ Ping ─▶ every component
    scheduler, worker ─ Wake (hint) ─▶ watcher         supervisor ─ OwnersDied (hint) ─▶ watcher
    scheduler ─ CancelAsked (hint) ─▶ worker           worker ─ Run ─▶ executor ─ Done Progressed Held ─▶ worker

    worker ── Want ─────▶ queue                        what it can take
    watcher ─ Reserve ──▶ queue ─ Room Withdrawn ─▶ watcher
    watcher ─ Push ─────▶ queue ─ Leased ─▶ worker     the claimed jobs, which have begun in the store
                          queue ─ Undelivered ─▶ watcher, WatcherGone ─▶ worker, Wake ─▶ watcher
    worker ── Extend Ack Release ─▶ queue              until the lease is over
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import JobFilter, Outcome, Output
from jobyard.engine.jobs.lifecycle import Verb
from jobyard.engine.why.facts import ProcessReport
from jobyard.engine.wire.hook_messages import AskHooks
from jobyard.engine.wire.lease_messages import LEASE_MESSAGES
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.queue_messages import (
    Ack,
    Extend,
    Leased,
    Push,
    Release,
    Reserve,
    Room,
    Undelivered,
    Want,
    WatcherGone,
    Withdrawn,
)
from jobyard.engine.wire.resource_messages import AskLimits as AskLimits
from jobyard.engine.wire.resource_messages import AskSchedules as AskSchedules
from jobyard.engine.wire.resource_messages import FindGroup as FindGroup
from jobyard.engine.wire.resource_messages import GetGraph as GetGraph
from jobyard.engine.wire.resource_messages import ListGroups as ListGroups

# ---- requests to a scheduler -------------------------------------------------------------------------------------


class Submit(Message, frozen=True, omit_defaults=True):
    """Store new jobs. `form` says what `body` is: `job` (one JSON object), `batch` ({"jobs": […]}) or `ndjson`.

    `first_id` is the first of the ids that the sender reserved, so that the same request sent twice stores its jobs once. After
    `deadline` (monotonic seconds of this host) the request must not be stored. `is_again`: it was sent before, to a scheduler that
    may have stored it without saying so; it is then looked up before it is refused for lack of time or room. `by`: the name of the
    client's token.
    """

    form: str
    body: bytes
    first_id: str
    deadline: float
    idempotency_key: str | None = None
    is_again: bool = False
    by: str = "api"
    request_id: str = ""


class Submits(Message, frozen=True):
    """What one sender submits at this moment; the requests are independent. Their replies are numbered from `first_number`."""

    first_number: int
    submits: list[Submit]


class Find(Message, frozen=True):
    """Get one job by id; the reply is `Json` or `Refused`."""

    job_id: str


class List(Message, frozen=True):
    """Get a page of jobs; the reply is `Json` (an array, with the cursor of the next page)."""

    limit: int = 100
    cursor: str | None = None
    wanted: JobFilter = JobFilter()


class ListExecutions(Message, frozen=True):
    """Get the attempts at a job; the reply is `Json` (an array) or `Refused`."""

    job_id: str


class ListOutputs(Message, frozen=True):
    """Get the outputs of a job's attempts; the reply is `Outputs` or `Refused`."""

    job_id: str


class WatchCompletion(Message, frozen=True):
    """Wait for these jobs to end, and no longer for `no_longer`; one `Ended` is sent for each when it ends."""

    job_ids: list[str]
    no_longer: list[str] = []


class CancelJob(Message, frozen=True):
    """Cancel a job, or request that from its worker; the reply is `Json` (the job) or `Refused`. `by`: the client's token."""

    job_id: str
    by: str = "api"
    request_id: str = ""


class RetryJob(Message, frozen=True):
    """Give a failed or cancelled job a fresh set of retries; the reply is `Json` (the job) or `Refused`.

    `body`: what the job is to have besides, read by the scheduler; may be empty.
    """

    job_id: str
    body: bytes = b""
    by: str = "api"
    request_id: str = ""


class RunJob(Message, frozen=True):
    """Make a pending job due now; the reply is `Json` (the job) or `Refused`."""

    job_id: str
    by: str = "api"
    request_id: str = ""


class TagJob(Message, frozen=True):
    """Give a job the tags of the JSON `body` instead of its own; the reply is `Json` (the job) or `Refused`."""

    job_id: str
    body: bytes
    by: str = "api"
    request_id: str = ""


class DeleteJob(Message, frozen=True):
    """Remove an ended job; the reply is `Json` (empty, with status 204) or `Refused`."""

    job_id: str
    by: str = "api"
    request_id: str = ""


class ChangeMany(Message, frozen=True):
    """Cancel or retry (`verb`) a portion of the jobs that the JSON `body` selects; the reply is `Json` (an object) or `Refused`."""

    verb: Verb
    body: bytes
    by: str = "api"
    request_id: str = ""


class DeleteMany(Message, frozen=True):
    """Remove the ended ones of a portion of the jobs that the JSON `body` selects; the reply is that of `ChangeMany`."""

    body: bytes
    by: str = "api"
    request_id: str = ""


class ListFailures(Message, frozen=True):
    """Group the failed jobs by task and kind of error; the reply is `Json` (an array)."""

    since: datetime | None = None


class ReportDue(Message, frozen=True):
    """Count what is due by task and queue, and how long it has been; the reply is `Json` (an array)."""


class ListTasks(Message, frozen=True):
    """Get the tasks known to any host, by name; the reply is `Json` (an array)."""


class Explain(Message, frozen=True):
    """Explain why a job is not running. `report`: what the front knows of this host. The reply is `Json` or `Refused`."""

    job_id: str
    report: ProcessReport


class CountJobs(Message, frozen=True):
    """Count jobs by status; the reply is `Json` (an object)."""


class CountMatching(Message, frozen=True):
    """Count the matching jobs, as far as that is cheap; the reply is `Json` (an object)."""

    wanted: JobFilter = JobFilter()


# ---- requests to every component ------------------------------------------------------------------------------------


class Ping(Message, frozen=True):
    """Check a component's health; the reply is `Json` (an object of details) or `Refused` with the problem."""


class GetItems(Message, frozen=True):
    """Get what is leased, and what is due, in the order of handing out; the reply is `Json` (an object)."""

    limit: int = 100


class GetOutput(Message, frozen=True):
    """→ worker: get what a running attempt has printed so far; the reply is `OutputNow`."""

    job_id: str
    attempt: int


# ---- replies ---------------------------------------------------------------------------------------------------------


class Accepted(Message, frozen=True):
    """The jobs are stored and on disk; `repeated` of them already existed, by their idempotency keys.

    `existing`: the indexes of those that stand for another job, by their unique keys, None when no job has such a key; `replaced`:
    those among them that brought it newer data. `status`: that of the last new job.
    """

    job_ids: list[str]
    repeated: int = 0
    existing: tuple[int, ...] | None = None
    replaced: tuple[int, ...] = ()
    status: str = "pending"


class Begun(Message, frozen=True):
    """A preliminary reply: from now on the request may be stored, so the sender should wait for the final one."""


class Expired(Message, frozen=True):
    """Nothing of the request is or will be stored: it was examined after its deadline."""


class Json(Message, frozen=True):
    """A reply as JSON text, ready to be forwarded. `status`: that of the HTTP response; with 204 there is no text."""

    body: bytes
    cursor: str | None = None
    status: int = 200


class Outputs(Message, frozen=True):
    """One output for each of the latest attempts, oldest first. `worker` is the process that runs the last of them, if any.

    `is_running`: whether the last of them runs, perhaps at an HTTP worker.
    """

    outputs: list[Output]
    worker: str | None = None
    is_running: bool = False


class OutputNow(Message, frozen=True):
    """The output so far; None if the attempt does not, or no longer, run here."""

    output: Output | None


class Ended(Message, frozen=True):
    """These jobs have ended or do not exist."""

    job_ids: list[str]


class Refused(Message, frozen=True):
    """An error as defined in `errors`; `details` are further fields of its JSON object.

    `temporary` with `retry_after_s`: the same request may succeed later.
    """

    code: str
    message: str
    field: str | None = None
    retry_after_s: int | None = None
    details: dict[str, Any] = {}


class Replied(Message, frozen=True):
    """Replies, by number, to some of the `Submits` received on this connection, in any order."""

    replies: list[tuple[int, Accepted | Begun | Expired | Refused]]


# ---- hints ------------------------------------------------------------------------------------------------------------


class Wake(Message, frozen=True):
    """→ watcher: a job is due at this time, possibly before your next poll.

    `resolves`: jobs have ended, or live again, for which others wait.
    """

    due_at: datetime
    resolves: bool = False


class CancelAsked(Message, frozen=True):
    """→ worker: cancellation of this job was requested at this epoch."""

    job_id: str
    epoch: int


class OwnersDied(Message, frozen=True):
    """→ watcher: the roster lists new dead owners (the hint only says to look now)."""

    owners: list[str]


# ---- worker and executor -------------------------------------------------------------------------------------------


class Run(Message, frozen=True):
    """Worker → executor: run one attempt. `is_behind`: others wait or run before it in the same child.

    `waited_for`: what the executor must know of its predecessors, as JSON text (`worker.predecessors`); None: it has none.
    """

    job_id: str
    attempt: int
    epoch: int
    retry_count: int
    task: str
    payload: bytes
    timeout_s: float
    is_behind: bool = False
    fire_at: datetime | None = None
    has_limit: bool = False
    waited_for: str | None = None


class Done(Message, frozen=True):
    """Executor → worker: how the attempt ended and how many seconds it ran. `is_spent`: the child is about to exit."""

    job_id: str
    attempt: int
    outcome: Outcome
    elapsed_s: float
    is_spent: bool = False


class Held(Message, frozen=True):
    """Executor → worker: no job under this job's own limits may begin for so long."""

    job_id: str
    attempt: int
    for_s: float


class Progressed(Message, frozen=True):
    """Executor → worker: the task reports its progress, as a fraction from 0 to 1 and a note."""

    job_id: str
    attempt: int
    fraction: float
    note: str


# ---- what the hub itself delivers to its role -------------------------------------------------------------------


class Closed(Message, frozen=True):
    """The peer is gone; it sends nothing more."""


class Ready(Message, frozen=True):
    """A watched file descriptor is readable."""

    fd: int


MESSAGES = (
    Submit | Submits | Find | List | ListExecutions | CancelJob | RetryJob | RunJob | TagJob | DeleteJob
    | ChangeMany | DeleteMany | ListFailures | ReportDue | ListTasks | CountJobs | CountMatching
    | ListOutputs | Explain | AskSchedules | AskLimits | FindGroup | ListGroups | GetGraph | GetOutput | Outputs
    | OutputNow | Ping | GetItems
    | WatchCompletion | Ended | Accepted | Begun | Expired | Replied | Json | Refused | Reserve | Room
    | Withdrawn | Push | Undelivered | Want | Leased | WatcherGone | Extend | Ack | Release | Wake | CancelAsked | OwnersDied
    | Run | Done | Progressed | Held | LEASE_MESSAGES | AskHooks
)  # fmt: skip
"""Every message that may be decoded; `Closed` and `Ready` are never sent."""
