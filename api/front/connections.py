"""How many clients the front serves at once, and the file descriptors that this takes."""

from __future__ import annotations

import resource

CONNECTIONS = 4_000
DESCRIPTORS = 2 * CONNECTIONS


def connections_allowed() -> int:
    """The most clients that an HTTP worker may have: half of the descriptors, which leaves the other half for serving them."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < DESCRIPTORS:
        allowed = DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return min(CONNECTIONS, allowed // 2)
