"""What a request that changes many jobs may say, and what it is told otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.jobs.selection import DEFAULT_STEP, FILTERS, MAX_TEXT_CHARS, parse

NOON = datetime(2026, 1, 4, 12, tzinfo=UTC)


def test_an_empty_filter_means_all_jobs() -> None:
    selection = parse(b'{"filter": {}}')

    assert (selection.wanted, selection.limit, selection.cursor) == (JobFilter(), DEFAULT_STEP, None)


def test_every_filter_can_be_given() -> None:
    fields = {
        "status": "failed", "task": "mail", "queue": "slow", "text": "timed out", "created_after": "2026-01-04T12:00:00Z",
        "created_before": "2026-01-04T13:00:00.0001+01:00", "unique_key": "mail/7", "schedule": "nightly", "group": "import:7",
        "tag": ["b", "a", "b"], "error_kind": "no 7",
    }  # fmt: skip
    assert set(fields) == set(FILTERS)

    selection = parse(json.dumps({"filter": fields, "limit": 7, "cursor": "x"}).encode())

    assert selection.wanted == JobFilter(
        status=Status.FAILED, task="mail", queue="slow", text="timed out", created_after=NOON,
        created_before=NOON.replace(microsecond=1000), unique_key="mail/7", schedule="nightly",
        group="import:7",
        tag=("b", "a"), error_kind="no",
    )  # fmt: skip
    assert (selection.limit, selection.cursor) == (7, "x")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("", "invalid_json", None), ("[]", "invalid_json", None), ("{}", "invalid_field", "filter"),
        ('{"filter": null}', "invalid_field", "filter"), ('{"filter": [], "limit": 1}', "invalid_field", "filter"),
        ('{"filter": {}, "filters": {}}', "unknown_field", "filters"),
        ('{"filter": {"state": "failed"}}', "unknown_field", "state"),
        ('{"filter": {}, "filter": {}}', "repeated_field", "filter"), ('{"filter": {"task": 1}}', "invalid_field", "filter.task"),
        ('{"filter": {"task": null}}', "invalid_field", "filter.task"),
        ('{"filter": {"task": ""}}', "invalid_field", "filter.task"),
        ('{"filter": {"status": {"$ne": ""}}}', "invalid_field", "filter.status"),
        ('{"filter": {"queue": "a b"}}', "invalid_field", "filter.queue"),
        ('{"filter": {"text": ""}}', "invalid_field", "filter.text"),
        ('{"filter": {"text": "a\\u0000b"}}', "invalid_field", "filter.text"),
        (json.dumps({"filter": {"text": "x" * (MAX_TEXT_CHARS + 1)}}), "invalid_field", "filter.text"),
        ('{"filter": {"created_after": "2026-01-04"}}', "invalid_field", "filter.created_after"),
        ('{"filter": {"created_before": 1}}', "invalid_field", "filter.created_before"),
        ('{"filter": {}, "limit": 0}', "invalid_field", "limit"), ('{"filter": {}, "limit": 1001}', "invalid_field", "limit"),
        ('{"filter": {}, "limit": true}', "invalid_field", "limit"), ('{"filter": {}, "limit": "9"}', "invalid_field", "limit"),
        ('{"filter": {}, "cursor": ""}', "invalid_field", "cursor"), ('{"filter": {}, "cursor": 7}', "invalid_field", "cursor"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(body: str, code: str, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as told:
        parse(body.encode())

    assert (told.value.code, told.value.field) == (code, field)


def test_whoever_forgets_the_filter_is_told_what_all_would_be() -> None:
    with pytest.raises(InvalidRequest, match=r'\{"filter": \{\}\} selects all jobs'):
        parse(b'{"limit": 5}')
