"""What a process may have of the system."""

from __future__ import annotations

import resource

from engine.process_control import MOST_DESCRIPTORS, raise_descriptor_limit


def test_the_limit_of_descriptors_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        told = raise_descriptor_limit()

        assert told == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert told == (MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS))
        assert raise_descriptor_limit() == told
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
