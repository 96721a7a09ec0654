"""The client's operations: the requests they send, which ones they repeat, and their results."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobyard.engine.client.batches import Chunker
from jobyard.engine.client.core import Submitted, list_path
from jobyard.engine.client.steps import NoAnswer, Response
from jobyard.engine.client.values import FINISHED, JobOptions, NewJob
from jobyard.engine.errors import Conflict, InvalidRequest, NotFinished, NotFound, Unavailable, Unreachable
from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.submission import FIELDS, MAX_BATCH
from tests.support.builders import a_job
from tests.support.fake_server import REFUSED, RESET, FakeServer, error, job_shown, ok

ID = "a" * 24
BUSY = error(503, "overloaded", retry_after="1")
UNAVAILABLE = error(503, "unavailable", retry_after="1")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def body_of(server: FakeServer, number: int = 0) -> dict[str, object]:
    body: dict[str, object] = json.loads(server.requests[number].body or b"")
    return body


def test_the_clients_fields_are_those_of_the_service() -> None:
    assert set(NewJob.__annotations__) == set(FIELDS)
    assert set(JobOptions.__annotations__) == set(FIELDS) - {"task", "payload"}
    assert FINISHED == TERMINAL


def test_a_submission_sends_the_given_fields_and_a_key(server: FakeServer) -> None:
    at = datetime(2026, 1, 4, 3, 4, 20, 123456, tzinfo=timezone(timedelta(hours=1)))

    submitted = server.run(
        server.core.submit("resize", (None,), {"scheduled_at": at, "queue": "mail", "delay_s": None}), [ok({"job_id": ID}, 201)]
    )

    body = body_of(server)
    assert submitted == Submitted(job_id=ID) and server.asked() == ["POST /api/jobs"]
    assert len(str(body.pop("idempotency_key"))) == 32
    assert body == {"task": "resize", "payload": None, "scheduled_at": at.isoformat(), "queue": "mail"}


@pytest.mark.parametrize("trouble", [REFUSED, RESET, BUSY, UNAVAILABLE, error(502, "x"), error(504, "x"), error(429, "x")])
def test_a_submission_is_repeated_unchanged(server: FakeServer, trouble: Response | NoAnswer) -> None:
    server.run(server.core.submit("echo", (1,), {}), [trouble, trouble, ok({"job_id": ID}, 200)])

    first, second, third = server.requests
    assert first == second == third


def test_two_submissions_have_two_keys(server: FakeServer) -> None:
    for _ in range(2):
        server.run(server.core.submit("echo", (1,), {}), [ok({"job_id": ID}, 201)])

    assert body_of(server, 0)["idempotency_key"] != body_of(server, 1)["idempotency_key"]


def test_the_callers_key_is_kept(server: FakeServer) -> None:
    server.run(server.core.submit("echo", (1,), {"idempotency_key": "mine"}), [ok({"job_id": ID}, 201)])

    assert body_of(server)["idempotency_key"] == "mine"


def test_pauses_grow_and_retry_after_can_lengthen_them(server: FakeServer) -> None:
    asks_for_more = error(503, "overloaded", retry_after="7")

    server.run(server.core.stats(), [RESET, RESET, RESET, asks_for_more, ok({})])

    base = [0.1, 0.2, 0.4, 7.0]
    extra = [pause - least for pause, least in zip(server.pauses, base, strict=True)]
    assert all(0 <= more <= 0.4 for more in extra)


@pytest.mark.parametrize(
    ("trouble", "kind"), [(REFUSED, Unreachable), (RESET, Unreachable), (BUSY, Unavailable), (error(502, "x"), Unavailable)]
)
def test_retries_stop_after_retry_s(trouble: Response | NoAnswer, kind: type[Exception]) -> None:
    server = FakeServer(retry_s=5)

    with pytest.raises(kind):
        server.run(server.core.stats(), itertools.repeat(trouble))

    assert len(server.requests) > 3 and sum(server.pauses) < 5


@pytest.mark.parametrize(
    "refusal", [error(400, "invalid_field", field="queue"), error(500, "internal_error"), error(404, "not_found")]
)
def test_a_permanent_error_is_not_retried(server: FakeServer, refusal: Response) -> None:
    with pytest.raises(Exception) as raised:
        server.run(server.core.submit("echo", (1,), {}), [refusal])

    details = json.loads(refusal.body)["error"]
    assert {name: getattr(raised.value, name) for name in details} == details and server.pauses == []


def test_a_job_has_datetimes_and_decoded_json(server: FakeServer) -> None:
    stored = a_job(job_id=ID, payload=b'{"a":[1.0,null]}', status=Status.COMPLETED, result=b'"x"', max_retries=3)

    job = server.run(server.core.get(ID), [job_shown(stored)])

    assert server.asked() == [f"GET /api/jobs/{ID}"]
    assert (job.payload, job.result, job.status, job.max_retries) == ({"a": [1.0, None]}, "x", Status.COMPLETED, 3)
    assert job.scheduled_at == stored.scheduled_at and job.scheduled_at.tzinfo == UTC and job.finished_at is None


def test_an_id_is_escaped_in_the_path(server: FakeServer) -> None:
    with pytest.raises(NotFound):
        server.run(server.core.get("../../stats?x#y"), [error(404, "not_found")])

    assert server.asked() == ["GET /api/jobs/..%2F..%2Fstats%3Fx%23y"]


# ---- waiting


def test_waiting_polls_less_and_less_often(server: FakeServer) -> None:
    looks = itertools.chain([job_shown(status=Status.RUNNING)] * 60, [job_shown(status=Status.FAILED)])

    job = server.run(server.core.wait(ID, None), looks)

    assert job.status is Status.FAILED
    assert server.pauses == sorted(server.pauses) and (server.pauses[0], server.pauses[-1]) == (0.02, 2.0)


def test_waiting_ends_in_time_and_reports_the_last_status(server: FakeServer) -> None:
    with pytest.raises(NotFinished, match=f"{ID} had not ended after 3 s; it was queued") as raised:
        server.run(server.core.wait(ID, 3), itertools.repeat(job_shown(status=Status.QUEUED)))

    assert sum(server.pauses) == pytest.approx(3) and raised.value.code == "not_finished"


def test_no_request_takes_longer_than_the_time_left() -> None:
    server = FakeServer(request_takes_s=1)

    with pytest.raises(NotFinished):
        server.run(server.core.wait(ID, 2.5), itertools.repeat(job_shown(status=Status.QUEUED)))

    taken = [(request.timeout_s or 0) + request.wait_s for request in server.requests]
    assert taken[:2] == [2.5, pytest.approx(1.25)]


def test_waiting_asks_for_a_long_poll_within_the_time_left(server: FakeServer) -> None:
    server.run(server.core.wait(ID, None), [job_shown(status=Status.COMPLETED)])
    server.run(server.core.wait(ID, 5), [job_shown(status=Status.COMPLETED)])
    server.run(server.core.wait(ID, 0.05), [job_shown(status=Status.COMPLETED)])

    path = f"GET /api/jobs/{ID}"
    assert server.asked() == [f"{path}?wait_s=30.000", f"{path}?wait_s=4.000", path]


def test_long_polls_follow_each_other_without_a_pause() -> None:
    server = FakeServer(request_takes_s=30)

    server.run(server.core.wait(ID, None), [*[job_shown(status=Status.RUNNING)] * 3, job_shown(status=Status.COMPLETED)])

    assert server.pauses == []


def test_an_overloaded_long_poll_is_replaced_by_polling(server: FakeServer) -> None:
    job = server.run(server.core.wait(ID, None), [BUSY, job_shown(), job_shown(), job_shown(status=Status.COMPLETED)])

    assert job.status is Status.COMPLETED
    assert server.asked() == [f"GET /api/jobs/{ID}?wait_s=30.000"] + [f"GET /api/jobs/{ID}"] * 3
    assert server.pauses == [0.02, 0.02]


def test_waiting_survives_a_short_outage(server: FakeServer) -> None:
    job = server.run(server.core.wait(ID, 20), [job_shown(), REFUSED, RESET, BUSY, job_shown(status=Status.COMPLETED)])

    assert job.status is Status.COMPLETED


def test_an_outage_longer_than_the_wait_is_reported_in_not_finished(server: FakeServer) -> None:
    with pytest.raises(NotFinished, match="it was pending; last answer: connection refused"):
        server.run(server.core.wait(ID, 5), itertools.chain([job_shown()], itertools.repeat(REFUSED)))


def test_an_outage_longer_than_retry_s_ends_the_wait(server: FakeServer) -> None:
    with pytest.raises(Unreachable):
        server.run(server.core.wait(ID, 500), itertools.repeat(REFUSED))


# ---- cancel and retry, which are not idempotent


def test_ask_repeats_only_a_get_after_a_lost_answer(server: FakeServer) -> None:
    found = server.run(server.core.ask("GET", "/api/tasks"), [RESET, ok([1])])
    with pytest.raises(Unreachable):
        server.run(server.core.ask("POST", "/api/jobs/cancel", {"filter": {}}), [RESET])
    done = server.run(server.core.ask("POST", "/api/jobs/cancel", {"filter": {}}), [REFUSED, ok({"changed": 1})])

    assert (found, done) == ([1], {"changed": 1})
    assert server.asked() == ["GET /api/tasks"] * 2 + ["POST /api/jobs/cancel"] * 3
    assert body_of(server, 4) == {"filter": {}}


def test_a_cancel_whose_answer_was_lost_is_settled_by_reading_the_job(server: FakeServer) -> None:
    job = server.run(server.core.cancel(ID), [RESET, job_shown(status=Status.CANCELLED)])

    assert job.status is Status.CANCELLED
    assert server.asked() == [f"POST /api/jobs/{ID}/cancel", f"GET /api/jobs/{ID}"]


def test_a_cancel_that_was_not_done_is_sent_again(server: FakeServer) -> None:
    answers = [UNAVAILABLE, job_shown(status=Status.RUNNING), job_shown(status=Status.RUNNING)]

    job = server.run(server.core.cancel(ID), answers)

    assert job.status is Status.RUNNING and [name[:4] for name in server.asked()] == ["POST", "GET ", "POST"]


def test_a_refused_cancel_of_a_cancelled_job_is_a_conflict(server: FakeServer) -> None:
    with pytest.raises(Conflict):
        server.run(server.core.cancel(ID), [error(409, "conflict")])


def test_a_cancel_that_took_effect_after_the_read_is_a_success(server: FakeServer) -> None:
    answers = [RESET, job_shown(), error(409, "conflict"), job_shown(status=Status.CANCELLED)]

    assert server.run(server.core.cancel(ID), answers).status is Status.CANCELLED


def test_a_job_that_finished_while_its_cancel_was_lost_is_a_conflict(server: FakeServer) -> None:
    with pytest.raises(Conflict):
        server.run(server.core.cancel(ID), [RESET, job_shown(), error(409, "conflict"), job_shown(status=Status.COMPLETED)])


@pytest.mark.parametrize("lost", [RESET, UNAVAILABLE, error(504, "x"), error(503, "outcome_unknown")])
def test_a_retry_is_done_once_by_comparing_epochs(server: FakeServer, lost: Response | NoAnswer) -> None:
    failed_again = job_shown(status=Status.FAILED, epoch=8)

    job = server.run(server.core.retry(ID, {}), [job_shown(status=Status.FAILED, epoch=5), lost, failed_again])

    assert job.epoch == 8 and [name[:4] for name in server.asked()] == ["GET ", "POST", "GET "]


@pytest.mark.parametrize("not_done", [REFUSED, BUSY])
def test_a_retry_that_never_arrived_is_sent_again(server: FakeServer, not_done: Response | NoAnswer) -> None:
    failed = job_shown(status=Status.FAILED, epoch=5)

    server.run(server.core.retry(ID, {}), [failed, not_done, job_shown(epoch=6)])

    assert [name[:4] for name in server.asked()] == ["GET ", "POST", "POST"]


def test_a_retry_that_is_always_lost_ends() -> None:
    server = FakeServer(retry_s=2)
    failed = job_shown(status=Status.FAILED, epoch=5)

    with pytest.raises(Unreachable, match="reset"):
        server.run(server.core.retry(ID, {}), itertools.chain([failed], itertools.cycle([RESET, failed])))


# ---- lists, stats, health


def test_a_list_follows_its_next_link(server: FakeServer) -> None:
    path = list_path(page=2, status=Status.PENDING, task=None, queue="a b")
    link = '</other?x=1>; rel="prev", </jobs?status=pending&cursor=c%2F1>; rel="next"'

    first = server.run(server.core.page(path), [Response(status=200, headers={"link": link}, body=b"[]")])
    last = server.run(server.core.page(str(first.next_path)), [ok([])])

    assert server.asked() == ["GET /api/jobs?status=pending&queue=a+b&limit=2", "GET /api/jobs?status=pending&cursor=c%2F1"]
    assert last.next_path is None


def test_a_link_to_another_host_is_followed_on_our_host(server: FakeServer) -> None:
    link = '<https://elsewhere.example/jobs?cursor=2>; rel="next"'

    page = server.run(server.core.page("/api/jobs"), [Response(status=200, headers={"link": link}, body=b"[]")])

    assert page.next_path == "/api/jobs?cursor=2"


def test_an_unhealthy_service_is_an_answer_without_retries(server: FakeServer) -> None:
    unhealthy = {"status": "unhealthy", "down": ["queue-6000"], "components": {"queue-6000": {"status": "down"}}, "error": {}}

    health = server.run(server.core.health(), [ok(unhealthy, 503, **{"retry-after": "1"})])

    assert not health.is_healthy and health.down == ("queue-6000",) and server.pauses == []


@pytest.mark.parametrize(("answer", "kind"), [(REFUSED, Unreachable), (error(503, "unavailable"), Unavailable)])
def test_no_health_answer_is_an_error_at_once(server: FakeServer, answer: Response | NoAnswer, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        server.run(server.core.health(), [answer])


# ---- many jobs


def chunks_of(chunker: Chunker, count: int) -> list[object]:
    return [chunk for chunk in [*(chunker.add({"payload": number}) for number in range(count)), chunker.rest()] if chunk]


def test_many_jobs_are_split_into_chunks_with_a_key_per_job() -> None:
    chunks = chunks_of(Chunker(3, "k"), 7)

    keys = [[job["idempotency_key"] for job in json.loads(chunk.body)["jobs"]] for chunk in chunks]  # type: ignore[attr-defined]
    assert keys == [["k-0", "k-1", "k-2"], ["k-3", "k-4", "k-5"], ["k-6"]]


def test_a_full_last_chunk_leaves_no_empty_one() -> None:
    assert len(chunks_of(Chunker(3, "k"), 6)) == 2 and chunks_of(Chunker(3, "k"), 0) == []


def test_large_jobs_make_small_chunks() -> None:
    chunker = Chunker(10_000, "k")

    full = [chunk for chunk in (chunker.add({"payload": "x" * (1 << 20)}) for _ in range(20)) if chunk]

    assert [len(chunk.jobs) for chunk in full] == [8, 8] and all(len(chunk.body) < 16 << 20 for chunk in full)


@pytest.mark.parametrize("count", [0, -1, MAX_BATCH + 1])
def test_the_chunk_size_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match=f"chunk must be from 1 to {MAX_BATCH}"):
        Chunker(count, "k")


def test_a_chunk_is_repeated_with_the_same_keys(server: FakeServer) -> None:
    chunker = Chunker(2, "k")
    chunker.add({"payload": 1})
    chunk = chunker.add({"payload": 2, "idempotency_key": "mine"})
    assert chunk is not None

    submitted = server.run(server.core.submit_chunk(chunk), [RESET, BUSY, ok({"job_ids": [ID, ID], "existing": [1]}, 200)])

    assert submitted == [Submitted(job_id=ID), Submitted(job_id=ID, existing=True)]
    assert len({request.body for request in server.requests}) == 1
    assert server.requests[0].body == (b'{"jobs":[{"idempotency_key":"k-0","payload":1},{"idempotency_key":"mine","payload":2}]}')


def test_a_bad_job_is_named_by_its_index_among_all_jobs(server: FakeServer) -> None:
    chunker = Chunker(2, "k")
    _, first, _, second = (chunker.add({"payload": number}) for number in range(4))
    assert first is not None and second is not None

    with pytest.raises(InvalidRequest) as raised:
        answer = error(400, "invalid_field", message="jobs[1]: priority must be lower", field="jobs[1].priority")
        server.run(server.core.submit_chunk(second), [answer])

    assert (raised.value.message, raised.value.field) == ("jobs[3]: priority must be lower", "jobs[3].priority")
    assert raised.value.__notes__ == [
        "the first 2 jobs are stored; with the same jobs and idempotency_key='k' none is stored twice"
    ]


def test_an_error_in_a_later_chunk_says_how_to_resume() -> None:
    server = FakeServer(retry_s=1)
    chunker = Chunker(1, "k")
    first, second = (chunker.add({"payload": number}) for number in range(2))
    assert first is not None and second is not None

    with pytest.raises(Unavailable) as early:
        server.run(server.core.submit_chunk(first), itertools.repeat(BUSY))
    with pytest.raises(Unavailable) as late:
        server.run(server.core.submit_chunk(second), itertools.repeat(BUSY))

    assert not hasattr(early.value, "__notes__") and "the first job is stored" in late.value.__notes__[0]


@pytest.mark.parametrize("payload", [float("nan"), object(), "\ud800", {1, 2}])
def test_a_payload_that_is_not_json_is_refused_before_it_is_sent(server: FakeServer, payload: object) -> None:
    with pytest.raises(InvalidRequest, match="cannot be sent as JSON") as raised:
        server.run(server.core.submit("echo", (payload,), {}), [])
    with pytest.raises(InvalidRequest) as of_many:
        Chunker(2, "k").add({"payload": payload})

    assert (raised.value.field, of_many.value.field) == ("payload", "jobs[0].payload")


def test_a_time_without_a_zone_is_refused(server: FakeServer) -> None:
    with pytest.raises(InvalidRequest, match="time zone"):
        server.run(server.core.submit("echo", (1,), {"scheduled_at": datetime(2026, 1, 1)}), [])  # noqa: DTZ001
