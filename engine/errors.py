"""What can go wrong, as a shallow tree. Each error says what was wrong and what would be right.

JobyardError                 code, message, field
├── Rejected                 what a client sent (or asked for) cannot be done
│   ├── InvalidRequest       malformed or out of bounds
│   ├── TooLarge             over a size limit
│   ├── NotFound             no such job
│   └── Conflict             the job's state, or an idempotency key, stands against it
├── Unavailable              nothing wrong with the request: try again after `retry_after_s`
│   └── StoreUnavailable     the database cannot be reached, is locked, or is full
├── OutcomeUnknown           it may have been stored or not: the client must be told nothing else
├── StoreBroken              the database is damaged, or its disk fails: the process ends
└── CannotStart              a setting, port, folder, module or database at start; exit status 2

The codes are part of the HTTP contract; `api/reply.py` gives each its status. Nothing here knows HTTP.
"""

from __future__ import annotations


class JobyardError(Exception):
    """Base of all errors that are told to somebody."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


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
