"""With what status a command ends."""

from __future__ import annotations

OK = 0
FAILED = 1
"""The job failed or was cancelled; there is no such job; the service refused what was asked."""
USAGE = 2
"""The words of the command were wrong (click's own status for that), or nothing could be begun."""
UNREACHABLE = 3
"""No service answered, or it is not able to now."""
NOT_FINISHED = 4
"""The time to wait was up before the job had ended."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it."""
DOCTOR_WARNS = 1
"""`doctor` alone: it works, but somebody should look."""
DOCTOR_SAYS_BROKEN = 2
"""`doctor` alone: it does not work, or would not if it were started."""
