"""How many clients the front serves at once, and what it needs for that of the system."""

from __future__ import annotations

import resource

CONNECTIONS = 4_000
DESCRIPTORS = 2 * CONNECTIONS


def connections_allowed() -> int:
    """How many clients an HTTP worker may have: half of the descriptors, so that the other half is there to serve them with."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < DESCRIPTORS:
        allowed = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return min(CONNECTIONS, allowed // 2)
