"""The fields of a new job: each at and past its bounds, one at a time and by the batch."""

from __future__ import annotations

import gc
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobyard.engine.errors import InvalidRequest, JobyardError, TooLarge
from jobyard.engine.jobs.expiry import LAST_TIME
from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Job, Status, to_json
from jobyard.engine.jobs.submission import FIELDS, MAX_DEPTH, MAX_PAYLOAD_BYTES, Defaults, TaskDefaults, parse
from jobyard.engine.jobs.submission_body import MAX_BATCH
from tests.support.world import START

FIRST_ID = "69541618f7d4e1295bfa447b"
DEFAULTS = Defaults(
    max_retries=5, timeout_s=3600, tasks={"echo": TaskDefaults(), "resize": TaskDefaults(max_retries=3, timeout_s=60)}
)  # fmt: skip


def parse_all(
    form: str, body: bytes | object, *, key: str | None = None, now: datetime = START, defaults: Defaults = DEFAULTS
) -> list[Job]:  # fmt: skip
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(form, text, first_id=FIRST_ID, idempotency_key=key, now=now, defaults=defaults)


def parse_one(body: bytes | object = b"{}", **given: object) -> Job:
    return parse_all("job", body, **given)[0]  # type: ignore[arg-type]


def refusal(body: bytes | object, *, form: str = "job", key: str | None = None) -> JobyardError:
    with pytest.raises((InvalidRequest, TooLarge)) as raised:
        parse_all(form, body, key=key)
    return raised.value


# ---- what a job gets by itself


def test_a_job_without_any_field_has_the_defaults() -> None:
    job = parse_one(b" {} ")

    assert (job.job_id, job.task, job.payload, job.queue, job.priority) == (FIRST_ID, "echo", b"null", "default", 5)
    assert (job.scheduled_at, job.created_at, job.updated_at) == (START, START, START)
    assert (job.max_retries, job.timeout_s, job.idempotency_key, job.request_digest) == (5, 3600, None, None)
    assert (job.status, job.attempt, job.epoch, job.retry_count, job.lost_count) == (Status.PENDING, 0, 0, 0, 0)


def test_a_task_has_defaults_of_its_own() -> None:
    job = parse_one({"task": "resize"})

    assert (job.max_retries, job.timeout_s) == (3, 60)


def test_what_the_request_says_stands_above_the_defaults_of_its_task() -> None:
    job = parse_one({"task": "resize", "max_retries": 0, "timeout_s": 0.5})

    assert (job.max_retries, job.timeout_s) == (0, 0.5)


# ---- each field at its bounds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", "a"), ("queue", "A-z_0.9" + "x" * 57),
        ("priority", 0), ("priority", 9),
        ("max_retries", 0), ("max_retries", 100),
        ("timeout_s", 0.001), ("timeout_s", 604800), ("timeout_s", 5e-324),
        ("idempotency_key", "k"), ("idempotency_key", "ö" * 255), ("idempotency_key", "line\nbreak"),
    ],
)  # fmt: skip
def test_a_field_at_its_bound_is_taken(field: str, value: object) -> None:
    assert getattr(parse_one({field: value}), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", ""), ("queue", "x" * 65), ("queue", "a b"), ("queue", "a\n"), ("queue", "é"), ("queue", 1),
        ("priority", -1), ("priority", 10), ("priority", "urgent"), ("priority", 5.5), ("priority", True), ("priority", "5"),
        ("priority", [5]), ("priority", {}),
        ("scheduled_at", 0), ("scheduled_at", "now"), ("scheduled_at", "2026-01-04"), ("scheduled_at", "2026-01-04T02:04:20"),
        ("delay_s", -0.001), ("delay_s", 315360000.1), ("delay_s", "1"), ("delay_s", False),
        ("max_retries", -1), ("max_retries", 101), ("max_retries", 1.5), ("max_retries", True),
        ("timeout_s", 0), ("timeout_s", -1), ("timeout_s", 604800.5), ("timeout_s", "60"), ("timeout_s", True),
        ("idempotency_key", ""), ("idempotency_key", "x" * 256), ("idempotency_key", 7),
        ("task", ""), ("task", 5), ("task", ["echo"]),
    ],
)  # fmt: skip
def test_a_field_past_its_bound_is_refused_by_name_with_what_would_be_right(field: str, value: object) -> None:
    wrong = refusal({field: value})

    assert (wrong.code, wrong.field) == ("invalid_field", field)
    assert wrong.message.startswith(f"{field} must be ")
    assert f", not {json.dumps(value)[:50]}" in wrong.message


NULLABLE = ("payload", "expires_s", "unique", "ref", "after", "run_if", "group", "limit")


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in NULLABLE])
def test_null_is_no_value_of_most_fields(field: str) -> None:
    assert refusal({field: None}).field == field


def test_a_job_expires_its_seconds_after_its_time() -> None:
    now = parse_one({"expires_s": 60})
    later = parse_one({"expires_s": 0.5, "delay_s": 10})
    never = parse_one({"expires_s": None})

    assert (now.expires_s, now.expires_at, now.lapses_at) == (60, START + timedelta(seconds=60), START + timedelta(seconds=60))
    assert later.expires_at == later.scheduled_at + timedelta(seconds=0.5)
    assert (never.expires_s, never.expires_at) == (None, None)
    assert parse_one({"expires_s": 315360000, "scheduled_at": "9999-12-30T00:00:00Z"}).expires_at == LAST_TIME


@pytest.mark.parametrize("value", [0, -1, True, "60", 315360001, []])
def test_an_expiry_is_a_positive_number(value: object) -> None:
    assert refusal({"expires_s": value}).field == "expires_s"


def test_a_tasks_own_defaults_are_those_of_its_jobs() -> None:
    own = TaskDefaults(queue="mail", priority=9, expires_s=60)
    defaults = Defaults(max_retries=5, timeout_s=1, tasks={"echo": own})

    job, other = parse_one({}, defaults=defaults), parse_one({"queue": "q", "priority": 1, "expires_s": 5}, defaults=defaults)

    assert (job.queue, job.priority, job.expires_at) == ("mail", 9, START + timedelta(seconds=60))
    assert (other.queue, other.priority, other.expires_s) == ("q", 1, 5)


def test_a_job_has_its_tasks_tags_besides_its_own() -> None:
    defaults = Defaults(max_retries=5, timeout_s=1, tasks={"echo": TaskDefaults(tags=("b", "mail"))})

    assert parse_one({"tags": ["b", "a"]}, defaults=defaults).tags == ("a", "b", "mail")
    assert parse_one({}, defaults=defaults).tags == ("b", "mail")
    assert parse_one({}).tags == ()
    with pytest.raises(InvalidRequest, match="not 17"):
        parse_one({"tags": [f"t{n}" for n in range(15)]}, defaults=defaults)


def test_tags_in_another_order_are_the_same_request() -> None:
    digests = [parse_one({"tags": tags}, key="k").request_digest for tags in (["a", "b"], ["b", "a"], ["a"])]

    assert is_same_request(digests[0], digests[1]) and not is_same_request(digests[0], digests[2])
    assert is_same_request(parse_one({}, key="k").request_digest, parse_one({"tags": []}, key="k").request_digest)


@pytest.mark.parametrize(("word", "number"), [("low", 1), ("normal", 5), ("high", 9)])
def test_a_priority_has_words(word: str, number: int) -> None:
    assert parse_one({"priority": word}).priority == number


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    wrong = refusal({"task": "reize"})

    words = 'task "reize" is not registered; known: echo, resize'
    assert (wrong.code, wrong.field, wrong.message) == ("unknown_task", "task", words)


def test_an_unknown_field_is_refused_by_name() -> None:
    wrong = refusal({"retries": 3})

    assert (wrong.code, wrong.field) == ("unknown_field", "retries")


@pytest.mark.parametrize("field", ["job_id", "status", "epoch", "request_digest", "__class__"])
def test_fields_of_ours_are_unknown_to_a_request(field: str) -> None:
    assert refusal({field: "x"}).code == "unknown_field"


def test_a_repeated_field_is_refused_also_when_its_name_is_written_differently() -> None:
    assert refusal(rb'{"queue":"a","\u0071ueue":"b"}').code == "repeated_field"


@pytest.mark.parametrize(
    "body",
    [{"a" * 9999: 1}, {"task": "a" * 9999}, {"queue": "a" * 9999}, {"priority": [1] * 9999}, ["a" * 9999], {"x": {"y" * 9999: 1}}],
)
def test_an_error_stays_short_whatever_was_sent(body: object) -> None:
    wrong = refusal(body)

    assert len(wrong.message) < 300
    assert len(wrong.field or "") < 100


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"job"', b"[{}]"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


@pytest.mark.parametrize("levels", [*range(970, 1000), 5000])
@pytest.mark.parametrize("form", ["job", "batch", "ndjson"])
def test_deep_nesting_anywhere_is_refused_whatever_the_decoder_can_follow(form: str, levels: int) -> None:
    for start in (b'{"priority":', b'{"payload":', b'{"other":', b""):
        deep = start + b"[" * levels + b"]" * levels + b"}" * bool(start)

        refusal(b'{"jobs":[' + deep + b"]}" if form == "batch" else deep, form=form)


# ---- the payload


@pytest.mark.parametrize(
    "text",
    [b"null", b'"test job"', b" 1.0", b"1.00", b"1e5", b"-0", b"0.1000000000000000055511151231257827", b'{ "b" : 1,\t"a" : [ ] }',
     rb'"\u00e9\/"', "\"é😀\"".encode(), rb'"\u0000"', b"9223372036854775807", b"1E+2"],
)  # fmt: skip
def test_a_payload_is_kept_byte_for_byte(text: bytes) -> None:
    kept = text.strip()

    assert parse_one(b'{"payload":' + text + b"}").payload == kept
    assert [job.payload for job in parse_all("batch", b'{"jobs":[{"payload":' + text + b',"queue":"q"}]}')] == [kept]
    assert [job.payload for job in parse_all("ndjson", b'{"payload":' + text + b"}\n")] == [kept]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_payload_is_shown_as_it_was_sent(value: object) -> None:
    text = json.dumps(value).encode()

    job = parse_one(b'{"payload":' + text + b"}")

    assert b'"payload":' + text + b"," in to_json(job)
    assert json.loads(to_json(job))["payload"] == value


def test_a_payload_whose_name_is_escaped_is_not_lost() -> None:
    assert parse_one(rb'{"\u0070ayload":17}').payload == b"17"
    assert parse_all("batch", rb'{"\u006aobs":[{"\u0070ayload":17}]}')[0].payload == b"17"


def test_a_payload_of_one_mebibyte_is_taken_and_one_byte_more_is_not() -> None:
    text = b'"' + b"a" * (MAX_PAYLOAD_BYTES - 2) + b'"'

    wrong = refusal(b'{"payload":' + text[:-1] + b'a"}')

    assert parse_one(b'{"payload":' + text + b"}").payload == text
    assert (type(wrong), wrong.code, wrong.field) == (TooLarge, "payload_too_large", "payload")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_payload_of_100_levels_is_taken_and_one_more_is_not(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        return b'{"payload":' + opening * (levels - 1) + b"[]" + closing * (levels - 1) + b"}"

    wrong = refusal(nested(MAX_DEPTH + 1))

    assert parse_one(nested(MAX_DEPTH)).payload
    assert (wrong.code, wrong.field) == ("invalid_field", "payload")


def test_many_brackets_beside_each_other_and_in_strings_are_no_depth() -> None:
    assert parse_one({"payload": [[[]] for _ in range(1000)] + ["[" * 1000, '"{\\' * 100]}).payload


@pytest.mark.parametrize("body", [b'{"payload":[' + b"[]," * 100_000 + b"1]}", b'{"payload":[' + b"[]," * 100_000 + b"]}"])
def test_reading_a_request_looks_for_no_garbage_and_it_is_looked_for_afterwards(body: bytes) -> None:
    """Among 100,000 new lists it was looked for 140 times; a batch of deep nests kept a scheduler for half a minute."""
    looks: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        looks.append(phase)

    gc.callbacks.append(note)
    try:
        parse_all("job", body)
    except InvalidRequest:
        pass
    finally:
        gc.callbacks.remove(note)

    assert len(looks) < 6
    assert gc.isenabled()


# ---- when


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("2026-02-01T00:00:00Z", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01t00:00:00z", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01 00:00:00+00:00", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T02:30:00+02:30", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-01-31T20:00:00-04:00", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T23:59:00+23:59", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2028-02-29T12:00:00Z", datetime(2028, 2, 29, 12, tzinfo=UTC)),
        ("2026-02-01T00:00:00.1Z", datetime(2026, 2, 1, 0, 0, 0, 100_000, tzinfo=UTC)),
        ("2026-02-01T00:00:00.123000000Z", datetime(2026, 2, 1, 0, 0, 0, 123_000, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999Z", datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_every_form_of_rfc_3339(text: str, due: datetime) -> None:
    assert parse_one({"scheduled_at": text}).scheduled_at == due


@pytest.mark.parametrize(
    ("text", "microsecond", "second"),
    [("20.0000001", 1000, 20), ("20.123000001", 124_000, 20), ("20.1239", 124_000, 20), ("20.9999", 0, 21), ("20.9", 900_000, 20)],
)
def test_a_fraction_is_rounded_up_so_that_nothing_starts_early(text: str, microsecond: int, second: int) -> None:
    due = parse_one({"scheduled_at": f"2026-02-01T00:00:{text}Z"}).scheduled_at

    assert (due.microsecond, due.second) == (microsecond, second)


@pytest.mark.parametrize("text", ["2026-12-31T23:59:60Z", "2027-01-01T00:59:60+01:00", "2026-12-31T23:59:60.000Z"])
def test_a_leap_second_is_the_second_after(text: str) -> None:
    assert parse_one({"scheduled_at": text}).scheduled_at == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z", "2026-01-01T12:59:60Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00Z", "20260101T000000Z", "2026-W01-1T00:00:00Z", "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00Z ", "٢٠٢٦-01-01T00:00:00Z", "+2026-01-01T00:00:00Z", "",
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(text: str) -> None:
    wrong = refusal({"scheduled_at": text})

    assert (wrong.code, wrong.field) == ("invalid_field", "scheduled_at")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2026-01-04T02:04:20.122Z"])
def test_a_time_in_the_past_means_now(text: str) -> None:
    assert parse_one({"scheduled_at": text}).scheduled_at == START


@pytest.mark.parametrize(
    ("delay_s", "milliseconds"), [(0, 0), (-0.0, 0), (2, 2000), (0.0001, 1), (1.1, 1100), (2.3, 2300), (0.0015, 2), (4.35, 4350)]
)
def test_a_delay_is_rounded_up_to_a_millisecond(delay_s: float, milliseconds: int) -> None:
    assert parse_one({"delay_s": delay_s}).scheduled_at == START + timedelta(milliseconds=milliseconds)


def test_a_delay_of_ten_years_is_taken() -> None:
    assert parse_one({"delay_s": 315_360_000}).scheduled_at == START + timedelta(seconds=315_360_000)


def test_a_time_and_a_delay_exclude_each_other() -> None:
    assert refusal({"scheduled_at": "2027-01-01T00:00:00Z", "delay_s": 0}).field == "delay_s"


# ---- idempotency


def test_a_key_may_come_in_the_header_or_in_the_body_and_means_the_same() -> None:
    by_header, by_field = parse_one({"payload": 1}, key="k"), parse_one({"payload": 1, "idempotency_key": "k"})

    assert by_header.idempotency_key == by_field.idempotency_key == "k"
    assert by_header.request_digest is not None and is_same_request(by_header.request_digest, by_field.request_digest)


def test_the_same_key_in_both_places_is_taken_and_two_keys_are_refused() -> None:
    assert parse_one({"idempotency_key": "k"}, key="k").idempotency_key == "k"
    assert refusal({"idempotency_key": "k"}, key="other").field == "idempotency_key"


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_in_the_header_has_the_bounds_of_the_field(key: str) -> None:
    assert refusal({}, key=key).field == "idempotency_key"


def test_the_digest_does_not_depend_on_the_order_or_spelling_of_the_fields() -> None:
    one = parse_one(b'{"payload":{"a":1,"b":"\\u00e9"},"queue":"q"}', key="k")
    other = parse_one('{ "queue" : "q", "payload" : {"b":"é","a":1} }'.encode(), key="k")

    assert is_same_request(one.request_digest, other.request_digest)


def means_the_same(first: object, second: object) -> bool:
    stored, asked = parse_one(first, key="k").request_digest, parse_one(second, key="k").request_digest
    return is_same_request(stored, asked)


@pytest.mark.parametrize("other", [{"payload": 2}, {"payload": 1, "priority": 4}, {"payload": 1.0}, {"payload": True}, {}])
def test_another_request_is_told_apart(other: object) -> None:
    assert not means_the_same({"payload": 1}, other)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"priority": "high"}, {"priority": 9}), ({}, {"priority": "normal"}), ({}, {"queue": "default", "task": "echo"}),
        ({}, {"payload": None, "delay_s": 0}), ({"delay_s": 60}, {"delay_s": 60.0}), ({"timeout_s": 7}, {"timeout_s": 7.0}),
        ({}, {"max_retries": 5, "timeout_s": 3600}),
        ({"scheduled_at": "2030-01-01T12:00:00Z"}, {"scheduled_at": "2030-01-01T13:00:00.000+01:00"}),
    ],
)  # fmt: skip
def test_a_request_written_in_another_way_means_the_same(first: object, second: object) -> None:
    assert means_the_same(first, second) and means_the_same(second, first)


def test_a_setting_that_has_changed_changes_no_request_that_leaves_it_out() -> None:
    before = parse_one({"payload": 1}, key="k")
    after = parse_one({"payload": 1}, key="k", defaults=Defaults(max_retries=7, timeout_s=1, tasks={"echo": TaskDefaults()}))

    assert is_same_request(before.request_digest, after.request_digest)


def test_a_digest_of_version_0_1_is_compared_with_the_text_of_the_request() -> None:
    asked = parse_one({"payload": 1, "priority": "high"}, key="k").request_digest
    assert asked is not None
    text = json.dumps({"payload": 1, "priority": "high"}, sort_keys=True)

    assert is_same_request(hashlib.sha256(text.encode()).digest()[:16], asked)
    assert not is_same_request(hashlib.sha256(b"{}").digest()[:16], asked)


def test_the_digest_of_a_delayed_job_does_not_depend_on_when_it_is_sent() -> None:
    first, again = (parse_one({"delay_s": 5}, key="k", now=START + timedelta(seconds=late_s)) for late_s in (0, 60))

    assert is_same_request(first.request_digest, again.request_digest)


# ---- batches


@pytest.mark.parametrize("form", ["batch", "ndjson"])
def test_jobs_of_a_batch_keep_their_order_and_have_consecutive_ids(form: str) -> None:
    bodies = [{"payload": number} for number in range(300)]
    body = {"jobs": bodies} if form == "batch" else "\n".join(map(json.dumps, bodies)).encode()

    jobs = parse_all(form, body)

    assert [job.payload for job in jobs] == [str(number).encode() for number in range(300)]
    assert [job.job_id for job in jobs] == [f"{int(FIRST_ID, 16) + number:024x}" for number in range(300)]


@pytest.mark.parametrize("form", ["batch", "ndjson"])
@pytest.mark.parametrize(
    ("bad", "code", "field"),
    [
        (b'{"priority":10}', "invalid_field", "jobs[1].priority"),
        (b'{"nope":1}', "unknown_field", "jobs[1].nope"),
        (b'{"queue":"a","queue":"b"}', "repeated_field", "jobs[1].queue"),
        (b'{"task":"nope"}', "unknown_task", "jobs[1].task"),
        (b'{"payload":1e999}', "invalid_field", "jobs[1]"),
        (b'{"payload":"\\ud800"}', "invalid_json", "jobs[1]"),
        (b"17", "invalid_json", "jobs[1]"),
        (b'{"payload":"' + b"a" * MAX_PAYLOAD_BYTES + b'"}', "payload_too_large", "jobs[1].payload"),
    ],
)
def test_a_bad_job_of_a_batch_is_named_by_its_index(form: str, bad: bytes, code: str, field: str) -> None:
    jobs = [b'{"payload":0}', bad, b"{}"]

    wrong = refusal(b'{"jobs":[' + b",".join(jobs) + b"]}" if form == "batch" else b"\n".join(jobs), form=form)

    assert (wrong.code, wrong.field) == (code, field)
    assert wrong.message.startswith("jobs[1]: ")


def test_a_line_that_is_no_json_is_named_by_its_index() -> None:
    assert refusal(b"{}\n{nope\n{}", form="ndjson").field == "jobs[1]"


def test_blank_lines_and_carriage_returns_between_lines_do_not_count() -> None:
    assert len(parse_all("ndjson", b'\n{"payload":1}\r\n\r\n  \n{"payload":2}')) == 2


@pytest.mark.parametrize("form", ["batch", "ndjson"])
def test_a_batch_holds_ten_thousand_jobs_and_no_more(form: str) -> None:
    def body(count: int) -> bytes:
        return b'{"jobs":[' + b",".join([b"{}"] * count) + b"]}" if form == "batch" else b"{}\n" * count

    assert len(parse_all(form, body(MAX_BATCH))) == MAX_BATCH
    assert refusal(body(MAX_BATCH + 1), form=form).code == "too_many_jobs"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"[]", "invalid_json", None),
        (b"{}", "invalid_field", "jobs"),
        (b'{"jobs":{}}', "invalid_field", "jobs"),
        (b'{"jobs":[],"queue":"q"}', "unknown_field", "queue"),
        (b'{"jobs":[],"jobs":[]}', "repeated_field", "jobs"),
        (b'{"jobs":[{}', "invalid_json", None),
    ],
)
def test_a_batch_that_is_none_is_refused(body: bytes, code: str, field: str | None) -> None:
    wrong = refusal(body, form="batch")

    assert (wrong.code, wrong.field) == (code, field)


@given(st.binary(), st.sampled_from(["job", "batch", "ndjson"]))
def test_a_body_of_any_bytes_gives_jobs_or_a_refusal(body: bytes, form: str) -> None:
    try:
        parse_all(form, body)
    except (InvalidRequest, TooLarge):
        pass


_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from([*FIELDS, "jobs", "nope"]), _values, max_size=4), st.none() | st.text(max_size=3))
def test_fields_of_any_value_give_a_job_or_a_refusal(fields: dict[str, object], key: str | None) -> None:
    try:
        job = parse_one(fields, key=key)
    except (InvalidRequest, TooLarge):
        return

    assert to_json(job)
    assert job.scheduled_at >= START
