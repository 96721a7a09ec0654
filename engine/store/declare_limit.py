"""Stores what a PUT, a pause or a task module asks of a limit, whoever else does so at the same moment."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from jobyard.engine.errors import changing_too_quickly
from jobyard.engine.limits.limit import API, CODE, Limit, Numbers
from jobyard.engine.store.limit_port import LimitStore

GUARD_TRIES = 20


def declare_limit(limits: LimitStore, name: str, numbers: Numbers, *, origin: str) -> tuple[Limit, Limit | None]:
    """The limit after and before it (None: it is new). The same again changes nothing, nor does code what the API has stored."""

    def changed(stored: Limit) -> Limit:
        same = (stored.numbers, stored.origin) == (numbers, origin)
        return stored if same or (origin == CODE and stored.origin == API) else replaced(stored, numbers=numbers, origin=origin)

    return change_limit(limits, name, changed, new=Limit(name=name))


def change_limit(
    limits: LimitStore, name: str, change: Callable[[Limit], Limit], *, new: Limit | None = None
) -> tuple[Limit, Limit | None]:  # fmt: skip
    """The limit after and before the change; `new` is changed where there is none. Raises `LookupError` where there is neither."""
    for _ in range(GUARD_TRIES):
        stored = limits.find(name)
        before = stored or new
        if before is None:
            raise LookupError(name)
        after = change(before)
        if (after is stored) or limits.save(after, was=None if stored is None else stored.version):
            return after, stored
    raise changing_too_quickly(f"limit {name}")


def replaced(limit: Limit, **changes: object) -> Limit:
    """The limit with these values, in its next version."""
    return msgspec.structs.replace(limit, **{"version": limit.version + 1, **changes})
