"""All errors, as a shallow tree. Every message says what was wrong and what would be valid.

JobyardError                 code, message, field
├── Rejected                 the request cannot be carried out
│   ├── InvalidRequest       malformed or out of bounds
│   ├── TooLarge             over a size limit
│   ├── NotFound             the job does not exist
│   ├── Conflict             the job's state or an idempotency key rules it out
│   └── Unauthorized         the token is missing or wrong
├── Unavailable              the request is fine: retry after `retry_after_s`
│   └── StoreUnavailable     the database cannot be reached, is locked, or is full
├── OutcomeUnknown           the request may or may not have been stored; the client gets neither a success nor a failure
├── StoreBroken              the database is damaged or its disk fails: the process ends
├── CannotStart              startup failed because of a setting, port, folder, module or database; exit status 2
│                            raised only by `engine/client`, in addition to `Rejected` and `Unavailable`:
├── Unreachable              no response arrived; the request may have been carried out
├── BrokenAnswer             the response is not valid: a server bug, or the server is not Jobyard
├── NotFinished              the job had not ended when the wait timed out
└── JobFailed                the job ended without success

The codes are part of the HTTP contract; `api/http/reply.py` maps each to its status. Nothing here depends on HTTP.
"""

from __future__ import annotations


class JobyardError(Exception):
    """Base class of all errors that are reported to a user or client."""

    def __init__(self, code: str, message: str, field: str | None = None, **details: object) -> None:
        """`details`: what else the error's JSON object has, such as the id of the job that stands in the way."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the error picklable between processes: the default would call `__init__` with the message alone."""
        return _revive, (type(self), self.args, vars(self))


def _revive(kind: type[JobyardError], args: tuple[object, ...], state: dict[str, object]) -> JobyardError:
    error = kind.__new__(kind)
    error.args = args
    vars(error).update(state)
    return error


class Rejected(JobyardError):
    """The request cannot be carried out; repeating it does not help."""


class InvalidRequest(Rejected):
    """The request is malformed, has a value of the wrong type, or is out of bounds."""


class TooLarge(Rejected):
    """The request exceeds a size limit."""


class NotFound(Rejected):
    """The requested object does not exist."""


class Conflict(Rejected):
    """The job's state or an idempotency key conflicts with the request."""


class Unauthorized(Rejected):
    """The token is missing or wrong."""


class Unavailable(JobyardError):
    """Nothing was stored; the client should retry after `retry_after_s` seconds."""

    def __init__(self, code: str, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, message)
        self.retry_after_s = retry_after_s


def changing_too_quickly(what: str) -> Unavailable:
    """Others change it all the time, so that every guarded change fails."""
    return Unavailable("unavailable", f"{what} is changing too quickly; try again")


class StoreUnavailable(Unavailable):
    """The database is unreachable, locked by another process, or full. `may_be_stored`: only the reply may have been lost."""

    def __init__(self, message: str, *, may_be_stored: bool = False) -> None:
        super().__init__("database_unavailable", message)
        self.may_be_stored = may_be_stored


class OutcomeUnknown(JobyardError):
    """It is unknown whether the request was stored, so neither a 2xx nor an error status would be true."""

    def __init__(self) -> None:
        super().__init__("outcome_unknown", "it may or may not have been stored; it is safe to repeat with an idempotency key")


class StoreBroken(JobyardError):
    """The database is damaged or its disk fails: the process must end and must never continue in memory."""

    def __init__(self, message: str) -> None:
        super().__init__("database_broken", message)


class CannotStart(JobyardError):
    """A problem found before anything runs; reported in one line, with the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__("cannot_start", message)


class Unreachable(JobyardError):
    """No response arrived. Unless nothing was sent (`was_sent` is false), the request may have been carried out."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__("unreachable", message)
        self.was_sent = was_sent


class BrokenAnswer(JobyardError):
    """The response is not valid: a server bug, or the server is not Jobyard."""


class NotFinished(JobyardError):
    """The wait timed out before the job ended; the job continues."""

    def __init__(self, message: str) -> None:
        super().__init__("not_finished", message, "job_id")


class JobFailed(JobyardError):
    """The job ended without success; `code` is its status, the message its error."""
