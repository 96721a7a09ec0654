"""The limits that task modules declare: `limit(...)` notes them, each start stores them.

They are noted as the body of the request that would store them, and checked by the server, in the same words.
"""

from __future__ import annotations

from typing import Any

DECLARED_LIMITS: dict[str, dict[str, Any]] = {}
"""By name. A module is executed once in a process, and so are its declarations."""


def limit(
    name: str, *, max_running: int | None = None, count: int | None = None, per_s: float | None = None, burst: int | None = None,
    on_full: str | None = None,
) -> None:  # fmt: skip
    """Declare a limit: how many jobs may run at once, and how many may begin in so many seconds.

    The arguments are the fields of a limit. Raises `ValueError` when the name is declared otherwise already.
    """
    body = {field: value for field, value in locals().items() if value is not None and field != "name"}
    if DECLARED_LIMITS.setdefault(name, body) != body:
        raise ValueError(f"limit {name!r} is declared twice")
