"""The exit statuses of the commands."""

from __future__ import annotations

OK = 0
FAILED = 1
"""The job failed or was cancelled; there is no such job; the service refused the request."""
USAGE = 2
"""The command was used incorrectly (click's own status for that), or could not start its work."""
UNREACHABLE = 3
"""The service cannot be reached, or is currently unable to answer."""
NOT_FINISHED = 4
"""The time to wait was up before the job ended."""
INTERRUPTED = 130
"""Ctrl-C, by the convention of shells."""
DOCTOR_WARNS = 1
"""`doctor` only: Jobyard works, but something needs attention."""
DOCTOR_SAYS_BROKEN = 2
"""`doctor` only: Jobyard does not work, or would not if it were started."""
