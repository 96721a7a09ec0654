"""The tasks that HTTP workers run, as `PUT /api/tasks/{name}` declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.limit_field import read_templates
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, shown
from jobyard.engine.jobs.submission import FIELDS, Field
from jobyard.engine.jobs.template import Template
from jobyard.engine.jobs.unique_field import Asked

NAME_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
API, CODE = ORIGINS = ("api", "code")
DECLARED: Mapping[str, Field] = {name: FIELDS[name] for name in ("max_retries", "timeout_s", "limit", "unique") if name in FIELDS}
"""What may be said of a task: defaults of its jobs, with the meaning that `@task` gives them."""


def check_name(name: str) -> str:
    """The name; raises `InvalidRequest`."""
    if not re.fullmatch(NAME_PATTERN, name):
        words = f"the name of a task must be 1 to 64 of the characters A-Z a-z 0-9 _ . -, not {shown(name)}"
        raise InvalidRequest("invalid_field", words, "name")
    return name


def parse(body: bytes) -> dict[str, Any]:
    """The options that a body declares, as those of `registry.TaskOptions`; raises `InvalidRequest`. It may be left out."""
    given = strict_json.decode(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise InvalidRequest("invalid_json", f"the body must be a JSON object, not {shown(given)}")
    options: dict[str, Any] = {}
    for name, value in given.items():
        field = DECLARED.get(name)
        if field is None:
            words = f"{shown(name)} is not a field of a task; known: {', '.join(DECLARED)}"
            raise InvalidRequest("unknown_field", words, name[:LONGEST_SHOWN])
        if value is not None:
            options[name] = _checked(field, value)
    return options


def _checked(field: Field, value: object) -> object:
    try:
        if field.name == "limit":
            return read_templates(value)
        checked = field.check(value)
        if isinstance(checked, Asked):
            if checked.key is not None:
                Template(checked.key)
            return checked._asdict()
        return checked
    except ValueError as wrong:
        raise InvalidRequest("invalid_field", f"{field.name} must be {wrong}, not {shown(value)}", field.name) from None
