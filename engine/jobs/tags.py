"""Tags: short names that a job carries, to be found and changed by. A task's own tags are added to those of its jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.request_fields import checked, unknown_field

MAX_TAGS = 16
TAG_PATTERN = r"[A-Za-z0-9_.:/@=+-]{1,64}"
ONE_WORDS = "1 to 64 of the characters A-Z a-z 0-9 _ . : / @ = + -"
WORDS = f"a list of at most {MAX_TAGS} tags, each {ONE_WORDS}"
TAG_SCHEMA: Mapping[str, object] = {"type": "string", "pattern": f"^{TAG_PATTERN}$"}
SCHEMA: Mapping[str, object] = {"type": "array", "items": TAG_SCHEMA, "maxItems": MAX_TAGS}
_TAG = re.compile(TAG_PATTERN, re.ASCII)


def read_tag(value: object) -> str:
    """One tag; raises `ValueError` with what would be valid."""
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise ValueError(ONE_WORDS)
    return value


def read_tags(value: object) -> tuple[str, ...]:
    """A list of tags, sorted, each once; raises `ValueError` with what would be valid."""
    if not isinstance(value, list | tuple) or len(value) > MAX_TAGS:
        raise ValueError(WORDS)
    try:
        return tuple(sorted({read_tag(tag) for tag in value}))
    except ValueError:
        raise ValueError(WORDS) from None


def joined(tags: Iterable[str], of_task: Iterable[str]) -> tuple[str, ...]:
    """A job's tags with those of its task; raises `InvalidRequest` for too many."""
    together = tuple(sorted({*tags, *of_task}))
    if len(together) > MAX_TAGS:
        words = f"tags must be at most {MAX_TAGS} together with those of the task, not {len(together)}"
        raise InvalidRequest("invalid_field", words, "tags")
    return together


def parse_tags(body: bytes) -> tuple[str, ...]:
    """The new tags in the body of a request: `{"tags": […]}`, or the list alone. Raises `InvalidRequest`."""
    given = strict_json.decode(body)
    if isinstance(given, dict):
        for name in given:
            if name != "tags":
                raise unknown_field(name, ("tags",))
        if "tags" not in given:
            raise InvalidRequest("invalid_field", 'tags is required; {"tags": []} removes all', "tags")
        given = given["tags"]
    return checked("tags", given, read_tags)
