"""Tables of requests that clients must not send, of values exactly at a bound, and of requests that are never finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

ID = "f" * 24
KIB, MIB = 1 << 10, 1 << 20
JOBS, BATCH, SCHEDULE = "/api/jobs", "/api/jobs/batch", "/schedule"
JSON, NDJSON = "application/json", "application/x-ndjson"


class Row(NamedTuple):
    """A request and its answer. `half_close`: the client ends its sending side."""

    request: bytes
    status: int
    code: str
    field: str | None = None
    half_close: bool = False
    port: int = 8080


def head(line: str, headers: str = "") -> bytes:
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1")


def post(body: str | bytes, path: str = JOBS, kind: str | None = JSON, headers: str = "") -> bytes:
    data = body.encode() if isinstance(body, str) else body
    kind_line = "" if kind is None else f"Content-Type: {kind}\r\n"
    return head(f"POST {path}", f"{kind_line}{headers}Content-Length: {len(data)}\r\n") + data


def framed(headers: str, rest: bytes) -> bytes:
    """A submission whose length these headers give."""
    return head(f"POST {JOBS}", f"Content-Type: {JSON}\r\n{headers}") + rest


def chunked(chunks: bytes, coding: str = "chunked") -> bytes:
    return framed(f"Transfer-Encoding: {coding}\r\n", chunks)


def not_json(body: str | bytes) -> Row:
    return Row(post(body), 400, "invalid_json")


def past_bound(field: str, value: str) -> Row:
    return Row(post(f'{{"{field}": {value}}}'), 400, "invalid_field", field)


def bad_time(text: str) -> Row:
    return past_bound("scheduled_at", json.dumps(text))


def bad_query(target: str, code: str, field: str | None) -> Row:
    return Row(head(f"GET {target}"), 400, code, field)


def bad_id(text: str) -> Row:
    return bad_query(f"/api/jobs/{text}", "invalid_job_id", "job_id")


def bad_batch(body: str, code: str, field: str | None, kind: str = JSON, status: int = 400) -> Row:
    return Row(post(body, BATCH, kind), status, code, field)


def bad_head(request: bytes) -> Row:
    return Row(request, 400, "invalid_request")


TEXTS = {
    "nothing": not_json(""), "a blank": not_json(" "), "an open brace": not_json("{"),
    "an open string": not_json('{"payload":"x'),
    "an open array": not_json('{"payload":[1,'), "half a word": not_json('{"payload":tru}'), "two values": not_json("{} {}"),
    "a comma too many": not_json('{"payload":1,}'), "single quotes": not_json("{'payload':1}"),
    "no quotes": not_json("{payload:1}"),
    "a comment": not_json("{}//"), "a leading zero": not_json('{"payload":01}'), "a plus": not_json('{"payload":+1}'),
    "a bare point": not_json('{"payload":1.}'), "hexadecimal": not_json('{"payload":0x1}'),
    "NaN": not_json('{"payload":NaN}'),
    "Infinity": not_json('{"payload":[Infinity]}'), "minus Infinity": not_json('{"priority":-Infinity}'),
    "a bad escape": not_json(r'{"payload":"\x41"}'), "half an escape": not_json(r'{"payload":"\u12"}'),
    "a bare line break": not_json('{"payload":"a\nb"}'), "a bare NUL": not_json(b'{"payload":"\0"}'),
    "a NUL behind": not_json(b"{}\0"),
    "half a surrogate pair": not_json(r'{"payload":"\ud800"}'), "a pair the wrong way": not_json(r'{"payload":"\udc00\ud800"}'),
    "half a pair as a name": not_json(r'{"payload":{"\udfff":1}}'),
    "half a pair as bytes": not_json(b'{"payload":"\xed\xa0\x80"}'),
    "a byte that is no UTF-8": not_json(b'{"payload":"\xff"}'), "an overlong form": not_json(b'{"payload":"\xc0\xaf"}'),
    "half a character": not_json(b'{"payload":"\xe2\x82"}'), "UTF-16": not_json("{}".encode("utf-16")),
    "UTF-32": not_json("{}".encode("utf-32")), "a byte order mark": not_json(b"\xef\xbb\xbf{}"), "an array": not_json("[{}]"),
    "null": not_json("null"), "a string": not_json('"{}"'), "a number": not_json("1"), "true": not_json("true"),
    "10,000 arrays": not_json('{"payload":' + "[" * 10_000 + "]" * 10_000 + "}"), "10,000 objects": not_json('{"a":' * 10_000),
    "10,000 arrays alone": not_json("[" * 10_000),
    "an integer above 64 bits": Row(post('{"payload":[9223372036854775808]}'), 400, "invalid_field"),
    "an integer below 64 bits": Row(post('{"payload":-9223372036854775809}'), 400, "invalid_field"),
    "an integer of 5,000 digits": Row(post('{"payload":' + "9" * 5000 + "}"), 400, "invalid_field"),
    "a number above all doubles": Row(post('{"payload":1e400}'), 400, "invalid_field"),
    "a field twice": Row(post('{"payload":1,"payload":1}'), 400, "repeated_field", "payload"),
    "a field twice inside": Row(post('{"payload":[{"a":{"b":1,"b":2}}]}'), 400, "repeated_field", "b"),
    "a field twice, once escaped": Row(post(r'{"queue":"a","\u0071ueue":"b"}'), 400, "repeated_field", "queue"),
}  # fmt: skip

FIELDS = {
    **{f"unknown {name}": Row(post(json.dumps({name: 1})), 400, "unknown_field", name)
       for name in ("$where", "$set", "__proto__", "", "Payload", "payload ", "status", "job_id", "epoch", "\0")},
    **{f"{field} {value}": past_bound(field, value) for field, value in (
        ("priority", "-1"), ("priority", "10"), ("priority", "5.5"), ("priority", '"HIGH"'), ("priority", "true"),
        ("priority", "null"),
        ("priority", '{"$gt":0}'), ("queue", '""'), ("queue", '"a b"'), ("queue", '"../etc"'), ("queue", r'"a\u0000"'),
        ("queue", '"a\\n"'),
        ("queue", '{"$ne":null}'), ("queue", '["a"]'), ("delay_s", "-0.001"), ("delay_s", "315360000.1"), ("delay_s", "1e308"),
        ("delay_s", '"1"'), ("delay_s", "[]"), ("max_retries", "-1"), ("max_retries", "101"), ("max_retries", "1.5"),
        ("max_retries", "{}"),
        ("timeout_s", "0"), ("timeout_s", "-1"), ("timeout_s", "604800.001"), ("timeout_s", '{"$gt":0}'), ("timeout_s", "false"),
        ("task", "1"), ("task", '""'), ("task", '{"$regex":".*"}'), ("idempotency_key", '""'), ("idempotency_key", "1"),
        ("idempotency_key", '{"$ne":1}'), ("scheduled_at", "1767225600"), ("scheduled_at", "null"),
        ("scheduled_at", '{"$date":"2027-01-01T00:00:00Z"}'),
    )},
    "queue of 65": past_bound("queue", f'"{"q" * 65}"'), "key of 256": past_bound("idempotency_key", f'"{"k" * 256}"'),
    "a payload of 101 levels": past_bound("payload", "[" * 101 + "]" * 101),
    "a payload over 1 MiB": Row(post('{"payload":"' + "x" * (MIB - 1) + '"}'), 413, "payload_too_large", "payload"),
    "a time and a delay": Row(post('{"delay_s":1,"scheduled_at":"2027-01-01T00:00:00Z"}'), 400, "invalid_field", "delay_s"),
    **{f"task {task}": Row(post(json.dumps({"task": task})), 400, "unknown_task", "task")
       for task in ("../../etc/passwd", "os.system", "\0", "ECHO", "echo ")},
    **{f"time {text}": bad_time(text) for text in (
        "2027-01-01T00:00:00", "2027-01-01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.9999Z",
        "9999-12-31T23:59:60Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2027-06-30T23:59:61Z", "2027-06-30T12:00:60Z",
        "2027-02-29T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:00:00+24:00", "2027-01-01T00:00:00 UTC",
        "2027-W01-1T00:00:00Z",
        "2027-01-01T00:00:00Z\0", "tomorrow", "",
    )},
    "key header empty": Row(post("{}", headers="Idempotency-Key:\r\n"), 400, "invalid_field", "idempotency_key"),
    "key header of 256": Row(post("{}", headers=f"Idempotency-Key: {'k' * 256}\r\n"), 400, "invalid_field", "idempotency_key"),
    "key header twice": bad_head(post("{}", headers="Idempotency-Key: a\r\n" * 2)),
    "key header and field": Row(
        post('{"idempotency_key":"b"}', headers="Idempotency-Key: a\r\n"), 400, "invalid_field", "idempotency_key"
    ),
}  # fmt: skip

BATCHES = {
    "no jobs": bad_batch("{}", "invalid_field", "jobs"), "jobs null": bad_batch('{"jobs":null}', "invalid_field", "jobs"),
    "jobs an object": bad_batch('{"jobs":{"$each":[{}]}}', "invalid_field", "jobs"), "jobs twice": bad_batch(
        '{"jobs":[{}],"jobs":[{}]}', "repeated_field", "jobs"), "an array alone": bad_batch("[{}]", "invalid_json", None),
    "another field": bad_batch('{"jobs":[{}],"$set":1}', "unknown_field", "$set"),
    "a batch that ends": bad_batch('{"jobs":[{},{}', "invalid_json", None),
    "a second that is null": bad_batch('{"jobs":[{},null]}', "invalid_json", "jobs[1]"),
    "a second that is bad": bad_batch('{"jobs":[{},{"priority":10}]}', "invalid_field", "jobs[1].priority"),
    "a second with a field twice": bad_batch('{"jobs":[{},{"queue":"a","queue":"a"}]}', "repeated_field", "jobs[1].queue"),
    "a second with half a pair": bad_batch(r'{"jobs":[{},{"payload":"\ud800"}]}', "invalid_json", "jobs[1]"),
    "a last of an unknown task": bad_batch('{"jobs":[{},{},{"task":"x"}]}', "unknown_task", "jobs[2].task"),
    "a key with two bodies": bad_batch(
        '{"jobs":[{"idempotency_key":"one","payload":1},{"idempotency_key":"one","payload":2}]}', "idempotency_conflict",
        "jobs[1].idempotency_key", status=409,
    ),
    "10,001 jobs": bad_batch('{"jobs":[' + "{}," * 10_000 + "{}]}", "too_many_jobs", "jobs"),
    "a key header": Row(post('{"jobs":[{}]}', BATCH, headers="Idempotency-Key: a\r\n"), 400, "invalid_field", "idempotency_key"),
    "a line that ends": bad_batch('{}\n{"payload":', "invalid_json", "jobs[1]", NDJSON),
    "a line of an array": bad_batch("{}\n[]\n", "invalid_json", "jobs[1]", NDJSON),
    "a line of two": bad_batch("{} {}\n", "invalid_json", "jobs[0]", NDJSON),
    "a job over two lines": bad_batch('{"payload":\n1}', "invalid_json", "jobs[0]", NDJSON),
    "10,001 lines": bad_batch("{}\n" * 10_001, "too_many_jobs", "jobs", NDJSON),
    "a large second line": bad_batch(
        '{}\n{"payload":"' + "x" * MIB + '"}', "payload_too_large", "jobs[1].payload", NDJSON, status=413
    ),
}  # fmt: skip

QUERIES = {
    "status[$ne]": bad_query("/jobs?status[$ne]=pending", "unknown_field", "status[$ne]"),
    "status[$ne] escaped": bad_query("/jobs?status%5B%24ne%5D=pending", "unknown_field", "status[$ne]"),
    "$where": bad_query("/jobs?$where=sleep(1000)", "unknown_field", "$where"),
    "job_id[$gt]": bad_query("/job?job_id[$gt]=", "unknown_field", "job_id[$gt]"),
    "an object for an id": bad_query('/job?job_id={"$gt":""}', "invalid_job_id", "job_id"),
    "an unknown filter": bad_query("/jobs?priority=9", "unknown_field", "priority"),
    "a filter without a name": bad_query("/jobs?=9", "unknown_field", ""),
    "a filter where there is none": bad_query("/stats?limit=1", "unknown_field", "limit"),
    "a filter of health": bad_query("/health?x", "unknown_field", "x"),
    "a filter of a submission": Row(post("{}", f"{JOBS}?priority=9"), 400, "unknown_field", "priority"),
    "a filter of a cancellation": Row(head(f"POST /api/jobs/{ID}/cancel?force=1"), 400, "unknown_field", "force"),
    "a filter twice": bad_query("/jobs?status=failed&status=failed", "repeated_field", "status"),
    "an id twice": bad_query(f"/job?job_id={ID}&job_id={ID}", "repeated_field", "job_id"),
    "an unknown status": bad_query("/jobs?status=done", "invalid_field", "status"),
    "a status in capitals": bad_query("/jobs?status=PENDING", "invalid_field", "status"),
    "two statuses": bad_query("/jobs?status=pending,failed", "invalid_field", "status"),
    "a queue that is a path": bad_query("/jobs?queue=../../etc/passwd", "invalid_field", "queue"),
    "a queue with a NUL": bad_query("/jobs?queue=a%00", "invalid_field", "queue"),
    "no task": bad_query("/jobs?task=", "invalid_field", "task"),
    "a task that is no text": bad_query("/jobs?task=%ff", "invalid_request", None),
    "a name that is no text": bad_query("/jobs?%c3%28=1", "invalid_request", None),
    **{f"limit {limit}": bad_query(f"/jobs?limit={limit}", "invalid_field", "limit")
       for limit in ("0", "1001", "-1", "1.0", "1e2", "", "9" * 30, "%D9%A1", "0x10", "10%00")},
    **{f"cursor {cursor}": bad_query(f"/jobs?cursor={cursor}", "invalid_cursor", "cursor")
       for cursor in ("x", "-1", "1.5", "9" * 19, "%00", "1;DROP", '{"$gt":1}')},
    "no cursor": bad_query("/jobs?cursor=", "invalid_field", "cursor"),
    "no id": bad_query("/job", "invalid_job_id", "job_id"), "an empty id": bad_query("/job?job_id=", "invalid_job_id", "job_id"),
    **{f"id {text[:30]}": bad_id(text) for text in (
        "0", "f" * 23, "f" * 25, "g" * 24, "f" * 12, "-" + "f" * 23, "%20" + "f" * 23, "f" * 24 + "%0a", "%00" + "f" * 23,
        "%EF%BC%91" * 24,
        "%ff" * 24, "0x" + "f" * 22, "550e8400-e29b-41d4-a716-446655440000", "[object%20Object]", "a" * 4000, "null",
    )},
    "an id of executions": bad_query("/api/jobs/x/executions", "invalid_job_id", "job_id"),
    "many without a filter": Row(post("{}", "/api/jobs/cancel"), 400, "invalid_field", "filter"),
    "many of a filter that is none": Row(post('{"filter": []}', "/api/jobs/retry"), 400, "invalid_field", "filter"),
    "many by an operator": Row(post('{"filter": {"task": {"$ne": 1}}}', "/api/jobs/cancel"), 400, "invalid_field", "filter.task"),
    "many with no tags": Row(post('{"filter": {"tag": []}}', "/api/jobs/delete"), 400, "invalid_field", "filter.tag"),
    "many with a spread": Row(post('{"filter": {}, "spread_s": 86401}', "/api/jobs/retry"), 400, "invalid_field", "spread_s"),
    "a spread of a cancellation": Row(post('{"filter": {}, "spread_s": 1}', "/api/jobs/cancel"), 400, "unknown_field", "spread_s"),
    "a retry with tags": Row(post('{"tags": []}', f"/api/jobs/{ID}/retry"), 400, "unknown_field", "tags"),
    "tags that are none": Row(post('{"tags": ["a b"]}'), 400, "invalid_field", "tags"),
    "too many tags": Row(post(json.dumps({"tags": [str(n) for n in range(17)]})), 400, "invalid_field", "tags"),
    "an id to delete": Row(head("DELETE /api/jobs/x"), 400, "invalid_job_id", "job_id"),
    "failures since when": bad_query("/api/failures?since=now", "invalid_field", "since"),
    "many in a query": Row(head("POST /api/jobs/cancel?task=echo"), 400, "unknown_field", "task"),
    "an id to cancel": Row(head("POST /api/jobs/x/cancel"), 400, "invalid_job_id", "job_id"),
    "an id to retry": Row(head(f"POST /api/jobs/{ID}0/retry"), 400, "invalid_job_id", "job_id"),
}  # fmt: skip

PLACES = {
    **{f"GET {target}": Row(head(f"GET {target}"), 404, "not_found") for target in (
        "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/static/../../api/app.py",
        "/api/jobs/../../etc",
        "/jobs%00", "/jobs;x=1", "/API/jobs", "/.env", "/.git/config", "//etc/passwd", "/\\etc", f"/api/jobs/{ID}/",
        f"/job?job_id={ID}",
        f"/api/jobs/{ID}/executions/1", "/%ff",
    )},
    "cancel nobody": Row(head(f"POST /api/jobs/{ID}/cancel"), 404, "not_found"),
    "delete nobody": Row(head(f"DELETE /api/jobs/{ID}"), 404, "not_found"),
    "run nobody": Row(head(f"POST /api/jobs/{ID}/run"), 404, "not_found"),
    "retry nobody": Row(head(f"POST /api/jobs/{ID}/retry"), 404, "not_found"),
    **{f"{method} /jobs": Row(head(f"{method} /jobs"), 405, "method_not_allowed")
       for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "M-SEARCH")},
    **{f"{method} /api/jobs": Row(head(f"{method} /api/jobs"), 405, "method_not_allowed") for method in ("PUT", "DELETE")},
    "GET cancel": Row(head(f"GET /api/jobs/{ID}/cancel"), 405, "method_not_allowed"),
    "GET batch": Row(head("GET /api/jobs/batch"), 405, "method_not_allowed"),
    "POST /stats": Row(post("{}", "/stats"), 405, "method_not_allowed"),
    "GET delete": Row(head("GET /api/jobs/delete"), 405, "method_not_allowed"),
    "POST tags": Row(post("[]", f"/api/jobs/{ID}/tags"), 405, "method_not_allowed"),
    "a method override": Row(head("POST /jobs", "X-HTTP-Method-Override: GET\r\n"), 405, "method_not_allowed"),
    **{f"method {method}": bad_head(head(f"{method} /jobs")) for method in ("get", "G,ET", "", "A" * 30, "GET\t", "G\0T")},
    **{f"target {target}": bad_head(head(f"GET {target}")) for target in (
        "*", "jobs", "localhost:80", "/jobs x", "/jobs\0", "/\xff",
    )},
    "another host's URL": Row(head("GET http://evil.example/jobs"), 421, "misdirected_host"),
    **{f"host {host}": Row(f"GET /jobs HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 421, "misdirected_host")
       for host in ("", "evil.example", "localhost.", "x@localhost", "localhost, evil", "localhost/evil", "0.0.0.0")},
    **{f"origin {origin}": Row(post("{}", headers=f"Origin: {origin}\r\n"), 403, "origin_not_allowed")
       for origin in ("null", "http://localhost.evil.example", "http://localhost\r\nOrigin: http://evil.example")},
    "moved by a header": Row(head("GET /x/jobs", "SCRIPT_NAME: /x\r\n"), 404, "not_found"),
}  # fmt: skip

BODIES = {
    **{f"type {kind}": Row(post("{}", kind=kind), 415, "unsupported_media_type") for kind in (
        None, "", "text/plain", "text/json", "application/jsonp", "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x", "*/*", "application/json; charset=utf-16", NDJSON, "\xff",
    )},
    "type of a batch": Row(post('{"jobs":[{}]}', BATCH, "text/plain"), 415, "unsupported_media_type"),
    "a large body of another type": Row(post("x" * (2 * MIB), kind="text/plain"), 415, "unsupported_media_type"),
    "two types": bad_head(post("{}", headers="Content-Type: text/plain\r\n")),
    "gzip": Row(post("{}", headers="Content-Encoding: gzip\r\n"), 415, "unsupported_media_type"),
    "no length": Row(framed("", b"{}"), 400, "invalid_json"),
    "length 0": Row(framed("Content-Length: 0\r\n", b"{}"), 400, "invalid_json"),
    **{f"length {length[:30]}": bad_head(framed(f"Content-Length: {length}\r\n", b"{}"))
       for length in ("-1", "+2", "2.0", "0x2", "2, 2", "two", "", "1e1", "\xb2", "9" * 5000)},
    "two lengths": bad_head(framed("Content-Length: 2\r\nContent-Length: 2\r\n", b"{}")),
    "a length and chunks": bad_head(framed("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n")),
    "a length too short": Row(framed("Content-Length: 1\r\n", b"{}"), 400, "invalid_json"),
    "a length too long": Row(framed("Content-Length: 3\r\n", b"{}"), 400, "invalid_request", half_close=True),
    "a long length too long": Row(framed(f"Content-Length: {MIB}\r\n", b"{}"), 400, "invalid_request", half_close=True),
    "a length over the limit": Row(framed(f"Content-Length: {16 * MIB + 1}\r\n", b"{}"), 413, "body_too_large"),
    "a length of 20 digits": Row(framed(f"Content-Length: {'9' * 20}\r\n", b"{}"), 413, "body_too_large"),
    "a body over the limit": Row(post("{}" + " " * (16 * MIB - 1)), 413, "body_too_large"),
    "a batch over the limit": Row(post(' {"jobs":[]}' + " " * 16 * MIB, BATCH), 413, "body_too_large"),
    "chunks over the limit": Row(chunked((b"100000\r\n" + b" " * MIB + b"\r\n") * 17 + b"0\r\n\r\n"), 413, "body_too_large"),
    **{f"chunks {chunks[:20]!r}": Row(chunked(chunks), 400, "invalid_request") for chunks in (
        b"-2\r\n{}\r\n0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n", b"\r\n{}\r\n0\r\n\r\n", b"\0\r\n", b"2;\1\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\nContent-Length: 2\r\n\r\n", b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
        b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"0" * 9000 + b"2",
    )},
    **{f"chunks that end after {chunks!r}": Row(chunked(chunks), 400, "invalid_request", half_close=True)
       for chunks in (b"", b"2\r\n", b"2\r\n{}\r\n", b"2\r\n{}\r\n0\r\n", b"f" * 17 + b"\r\n{}")},
    "no chunk": Row(chunked(b"0\r\n\r\n"), 400, "invalid_json"),
    "one byte each": Row(chunked(b"1\r\n{\r\n1\r\n,\r\n0\r\n\r\n"), 400, "invalid_json"),
    "another coding": Row(chunked(b"", "xchunked"), 501, "not_implemented"),
    "gzip in chunks": Row(chunked(b"2\r\n{}\r\n0\r\n\r\n", "gzip, chunked"), 501, "not_implemented"),
    "chunks in chunks": bad_head(chunked(b"2\r\n{}\r\n0\r\n\r\n", "chunked, chunked")),
    "a coding with a blank": bad_head(framed("Transfer-Encoding : chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n")),
    "chunks in HTTP/1.0": bad_head(chunked(b"2\r\n{}\r\n0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")),
    "an expectation": Row(framed("Expect: cake\r\nContent-Length: 2\r\n", b"{}"), 417, "expectation_failed"),
}  # fmt: skip

HEADS = {
    **{f"header {header!r}": bad_head(head("GET /jobs", header + "\r\n"))
       for header in ("no colon", "X Y: z", ": z", "X: y\r\n z", "X: y\nZ: w", "X: y\rZ", "X: \0", "X\0: y", "Host: localhost",
       "X : y")},
    "101 headers": Row(head("GET /jobs", "X: y\r\n" * 101), 431, "headers_too_large"),
    "2,000 headers": Row(head("GET /jobs", "X: y\r\n" * 2000), 431, "headers_too_large"),
    "a header of 9 KiB": Row(head("GET /jobs", f"X: {'y' * 9 * KIB}\r\n"), 431, "headers_too_large"),
    "headers of 1 MiB without an end": Row(b"GET /jobs HTTP/1.1\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 132, 431,
    "headers_too_large"),
    "a target of 9 KiB": Row(head(f"GET /{'a' * 9 * KIB}"), 414, "uri_too_long"),
    "a line without an end": Row(b"GET /" + b"a" * 9 * KIB, 414, "uri_too_long"),
    "HTTP/0.9": bad_head(b"GET /jobs\r\n\r\n"), "HTTP/2": bad_head(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http/1.1": bad_head(b"GET /jobs http/1.1\r\nHost: localhost\r\n\r\n"), "HTTP/11.1": bad_head(b"GET /jobs HTTP/11.1\r\n\r\n"),
    "two blanks": bad_head(b"GET  /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"), "nothing but ends": bad_head(b"\r\n\r\n"),
    "line feeds": bad_head(b"GET /jobs HTTP/1.1\nHost: localhost\n\n"),
    "a proxy's line": bad_head(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n\r\n"),
    "a TLS greeting": bad_head(b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(range(200)) + b"\r\n\r\n"),
}  # fmt: skip

PORTS = {
    "a scheduler, no JSON": Row(post("{", SCHEDULE), 400, "invalid_json", port=8081),
    "a scheduler, 10,000 arrays": Row(post("[" * 10_000, SCHEDULE), 400, "invalid_json", port=8082),
    "a scheduler, another type": Row(post("{}", SCHEDULE, "text/plain"), 415, "unsupported_media_type", port=8081),
    "a scheduler, an operator": Row(head("GET /jobs?status[$ne]=x"), 400, "unknown_field", "status[$ne]", port=8081),
    "a scheduler, the gateway's path": Row(post("{}", JOBS), 404, "not_found", port=8081),
    "the queue, limit 0": Row(head("GET /queue?limit=0"), 400, "invalid_field", "limit", port=6000),
    "the queue, limit 1001": Row(head("GET /queue?limit=1001"), 400, "invalid_field", "limit", port=6000),
    "a watcher, a submission": Row(post("{}", SCHEDULE), 404, "not_found", port=9001),
    "a worker, DELETE": Row(head("DELETE /stats"), 405, "method_not_allowed", port=7001),
    "a worker, no HTTP": Row(b"\0\1\2\r\n\r\n", 400, "invalid_request", port=7001),
}  # fmt: skip

TABLE: Mapping[str, Row] = {
    f"{group}: {name}": row
    for group, rows in (
        ("text", TEXTS), ("field", FIELDS), ("batch", BATCHES), ("query", QUERIES), ("place", PLACES), ("body", BODIES),
        ("head", HEADS),
        ("port", PORTS),
    )
    for name, row in rows.items()
}  # fmt: skip

TAKEN: Mapping[str, tuple[bytes, int]] = {
    "a payload of 1 MiB": (post('{"delay_s":9999,"payload":"' + "x" * (MIB - 2) + '"}'), 1),
    "a payload of 100 levels": (post('{"delay_s":9999,"payload":' + "[" * 100 + "]" * 100 + "}"), 1),
    "integers of 64 bits": (post('{"payload":[9223372036854775807,-9223372036854775808]}'), 1),
    "NUL and operators in a payload": (post(r'{"payload":{"$set":{"a.b":"\u0000"},"":1,".":2,"$":3}}'), 1),
    "a key with a NUL": (post(r'{"idempotency_key":"\u0000"}'), 1),
    "a body of 16 MiB": (post("{}" + " " * (16 * MIB - 2)), 1),
    "10,000 jobs": (post('{"jobs":[' + ",".join(['{"delay_s":9999}'] * 10_000) + "]}", BATCH), 10_000),
    "10,000 lines": (post('{"delay_s":9999}\n' * 10_000, BATCH, NDJSON), 10_000),
    "chunks": (chunked(b"1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX: y\r\n\r\n"), 1),
    "99 headers": (post("{}", headers="X: y\r\n" * 96), 1),
    "a kind with parameters": (post("{}", kind='Application/JSON; charset="utf-8"'), 1),
    "a key header of 255": (post("{}", headers=f"Idempotency-Key: {'k' * 255}\r\n"), 1),
    **{f"{field} {value[:40]}": (post(f'{{"{field}":{value}}}'), 1) for field, value in (
        ("priority", "0"), ("priority", "9"), ("priority", '"low"'), ("queue", '"q"'), ("queue", f'"{"q" * 64}"'),
        ("queue", '".."'),
        ("delay_s", "0"), ("delay_s", "-0.0"), ("delay_s", "315360000"), ("max_retries", "0"), ("max_retries", "100"),
        ("timeout_s", "604800"), ("idempotency_key", '"k"'), ("idempotency_key", f'"{"ö" * 255}"'),
        ("scheduled_at", '"0001-01-01T00:00:00Z"'), ("scheduled_at", '"9999-12-31T23:59:59.999Z"'),
        ("scheduled_at", '"2016-12-31T23:59:60Z"'), ("scheduled_at", '"2027-07-01T01:59:60+02:00"'),
    )},
    "the least time": (post('{"delay_s":9999,"timeout_s":5e-324}'), 1),
}  # fmt: skip

SLOW: Mapping[str, bytes] = {
    "a byte": b"G", "a line": b"GET /jobs HTTP/1.1\r\n", "half a head": head("GET /jobs")[:-2], "half a body": post("{}")[:-1],
    "a large body": framed(f"Content-Length: {MIB}\r\n", b"{"), "half a chunk": chunked(b"2\r\n{"),
    "a TLS greeting": b"\x16\x03\x01\x02",
    "line feeds in chunks": chunked(b"2\n{}\n0\n\n"), "a head byte by byte": b"GET /jobs HTTP/1.1\r\nX: ",
}  # fmt: skip
"""Requests that are started and never finished."""
