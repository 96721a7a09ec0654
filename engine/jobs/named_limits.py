"""Which limits a new job names: its own, which must be there, else those of its task, which need not be."""

from __future__ import annotations

import json
from collections.abc import Callable

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.limit_field import from_templates, name_of
from jobyard.engine.jobs.strict_json import shown


def limits_of(
    named: tuple[str, ...] | None, of_task: tuple[str, ...] | None, payload: bytes, has_limit: Callable[[str], bool]
) -> tuple[str, ...] | None:  # fmt: skip
    """What the job's field `limit` holds. `of_task`: the templates of its task. Raises `InvalidRequest`."""
    if named is None:
        try:
            return None if of_task is None else from_templates(of_task, json.loads(payload))
        except ValueError as wrong:
            raise InvalidRequest("invalid_field", f"payload must be {wrong}", "payload") from None
    for part in named:
        if not has_limit(name_of(part)):
            words = f"there is no limit {shown(name_of(part))}; make it with PUT /api/limits/{name_of(part)}"
            raise InvalidRequest("unknown_limit", words, "limit")
    return named
