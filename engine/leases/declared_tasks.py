"""The tasks that HTTP workers run, as `PUT /api/tasks/{name}` declares them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.fields import Field
from jobyard.engine.jobs.limit_field import read_templates
from jobyard.engine.jobs.request_fields import checked, optional_object, unknown_field
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.submission import FIELDS
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
    options: dict[str, Any] = {}
    for name, value in optional_object(body).items():
        field = DECLARED.get(name)
        if field is None:
            raise unknown_field(name, DECLARED, "a task")
        if value is not None:
            options[name] = checked(name, value, partial(_read, field))
    return options


def _read(field: Field, value: object) -> object:
    if field.name == "limit":
        return read_templates(value)
    read = field.read(value)
    if not isinstance(read, Asked):
        return read
    if read.key is not None:
        Template(read.key)
    return read._asdict()
