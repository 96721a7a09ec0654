"""Owners' names."""

from __future__ import annotations

import pytest

from jobyard.engine.jobs.owners import Owner, parse_owner


@pytest.mark.parametrize("host", ["box", "", "2001:db8::1", "a:b"])
def test_a_name_gives_back_its_parts_whatever_the_host_is_called(host: str) -> None:
    owner = Owner(host, "9f3a1c22", "worker-7001", 12)

    assert parse_owner(str(owner)) == owner


@pytest.mark.parametrize("name", ["", "worker-7001", "box:boot:worker-7001", "box:boot:worker-7001:x"])
def test_what_is_no_owners_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        parse_owner(name)
