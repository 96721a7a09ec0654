"""What can go wrong, as a shallow tree. Each error says what was wrong and what would be right.

JobyardError                 code, message, field
├── Rejected                 what a client sent (or asked for) cannot be done
│   ├── InvalidRequest       malformed or out of bounds
│   ├── TooLarge             over a size limit
│   ├── NotFound             no such job
│   ├── Conflict             the job's state, or an idempotency key, stands against it
│   └── Unauthorized         no token, or a wrong one
├── Unavailable              nothing wrong with the request: try again after `retry_after_s`
│   └── StoreUnavailable     the database cannot be reached, is locked, or is full
├── OutcomeUnknown           it may have been stored or not: the client must be told nothing else
├── StoreBroken              the database is damaged, or its disk fails: the process ends
├── CannotStart              a setting, port, folder, module or database at start; exit status 2
│                            and what only `engine/client` raises, besides `Rejected` and `Unavailable`:
├── Unreachable              no answer: what was asked may have been done all the same
├── BrokenAnswer             an answer that no client can use: a fault of the server's, or no Jobyard at all
├── NotFinished              the job had not ended when the time to wait for it was up
└── JobFailed                the job ended, but not well

The codes are part of the HTTP contract; `api/http/reply.py` gives each its status. Nothing here knows HTTP.
"""

from __future__ import annotations


class JobyardError(Exception):
    """Base of all errors that are told to somebody."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        """So that it crosses from one process to another: an exception's own way would call us with the message alone."""
        return _revive, (type(self), self.args, vars(self))


def _revive(kind: type[JobyardError], args: tuple[object, ...], state: dict[str, object]) -> JobyardError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class Rejected(JobyardError):
    """What was asked for cannot be done; asking again does not help."""


class InvalidRequest(Rejected):
    """Malformed, of the wrong type, or out of bounds."""


class TooLarge(Rejected):
    """Over a size limit."""


class NotFound(Rejected):
    """There is no such thing."""


class Conflict(Rejected):
    """The job's state or an idempotency key stands against it."""


class Unauthorized(Rejected):
    """No token was given, or a wrong one."""


class Unavailable(JobyardError):
    """Try again after `retry_after_s` seconds; nothing was stored."""

    def __init__(self, code: str, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """The database cannot be reached, is locked by somebody else, or is full. `may_be_stored`: only its reply was lost, perhaps."""

    def __init__(self, message: str, *, may_be_stored: bool = False) -> None:
        super().__init__("database_unavailable", message)
        self.may_be_stored = may_be_stored


class OutcomeUnknown(JobyardError):
    """Whether the request was stored cannot be told: neither 2xx nor an error would be true."""

    def __init__(self) -> None:
        super().__init__("outcome_unknown", "it may have been stored or not: with an idempotency key, sending it again tells")


class StoreBroken(JobyardError):
    """The database is damaged or its disk fails: the process must end and never go on in memory."""

    def __init__(self, message: str) -> None:
        super().__init__("database_broken", message)


class CannotStart(JobyardError):
    """A fault found before anything runs: told in one line, with the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__("cannot_start", message)


class Unreachable(JobyardError):
    """No answer came. Unless nothing was sent (`was_sent`), what was asked may have been done."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__("unreachable", message)
        self.was_sent = was_sent


class BrokenAnswer(JobyardError):
    """An answer that says neither yes nor no: a fault of the server's, or it is no Jobyard."""


class NotFinished(JobyardError):
    """The time to wait was up before the job ended; it goes on."""

    def __init__(self, message: str) -> None:
        super().__init__("not_finished", message, "job_id")


class JobFailed(JobyardError):
    """The job ended without success; `code` is its status, the message its error."""
