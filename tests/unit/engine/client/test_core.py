"""What is asked, what is asked again, and what comes out."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobyard.engine.client.batches import Chunker
from jobyard.engine.client.core import list_path
from jobyard.engine.client.steps import NoAnswer, Response
from jobyard.engine.client.values import FINISHED, JobOptions, NewJob
from jobyard.engine.errors import Conflict, InvalidRequest, NotFinished, NotFound, Unavailable, Unreachable
from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.submission import FIELDS, MAX_BATCH
from tests.support.builders import a_job
from tests.support.dialogue import CUT, REFUSED, Dialogue, error, ok, shown

ID = "a" * 24
BUSY = error(503, "overloaded", retry_after="1")
BROKE_OFF = error(503, "unavailable", retry_after="1")


@pytest.fixture
def dialogue() -> Dialogue:
    return Dialogue()


def body_of(dialogue: Dialogue, number: int = 0) -> dict[str, object]:
    body: dict[str, object] = json.loads(dialogue.requests[number].body or b"")
    return body


def test_the_fields_that_can_be_given_are_those_that_the_service_takes() -> None:
    assert set(NewJob.__annotations__) == set(FIELDS)
    assert set(JobOptions.__annotations__) == set(FIELDS) - {"task", "payload"}
    assert FINISHED == TERMINAL


def test_a_submission_sends_what_is_given_and_a_key(dialogue: Dialogue) -> None:
    at = datetime(2026, 1, 4, 3, 4, 20, 123456, tzinfo=timezone(timedelta(hours=1)))

    job_id = dialogue.run(
        dialogue.core.submit("resize", None, {"scheduled_at": at, "queue": "mail", "delay_s": None}), [ok({"job_id": ID}, 201)]
    )

    body = body_of(dialogue)
    assert job_id == ID and dialogue.asked() == ["POST /api/jobs"]
    assert len(str(body.pop("idempotency_key"))) == 32
    assert body == {"task": "resize", "payload": None, "scheduled_at": at.isoformat(), "queue": "mail"}


@pytest.mark.parametrize("trouble", [REFUSED, CUT, BUSY, BROKE_OFF, error(502, "x"), error(504, "x"), error(429, "x")])
def test_a_submission_is_repeated_word_for_word(dialogue: Dialogue, trouble: Response | NoAnswer) -> None:
    dialogue.run(dialogue.core.submit("echo", 1, {}), [trouble, trouble, ok({"job_id": ID}, 200)])

    first, second, third = dialogue.requests
    assert first == second == third


def test_two_submissions_have_two_keys(dialogue: Dialogue) -> None:
    for _ in range(2):
        dialogue.run(dialogue.core.submit("echo", 1, {}), [ok({"job_id": ID}, 201)])

    assert body_of(dialogue, 0)["idempotency_key"] != body_of(dialogue, 1)["idempotency_key"]


def test_a_key_of_the_callers_is_kept(dialogue: Dialogue) -> None:
    dialogue.run(dialogue.core.submit("echo", 1, {"idempotency_key": "mine"}), [ok({"job_id": ID}, 201)])

    assert body_of(dialogue)["idempotency_key"] == "mine"


def test_the_pauses_grow_and_the_server_may_ask_for_longer_ones(dialogue: Dialogue) -> None:
    asks_for_more = error(503, "overloaded", retry_after="7")

    dialogue.run(dialogue.core.stats(), [CUT, CUT, CUT, asks_for_more, ok({})])

    base = [0.1, 0.2, 0.4, 7.0]
    extra = [pause - least for pause, least in zip(dialogue.pauses, base, strict=True)]
    assert all(0 <= more <= 0.4 for more in extra)


@pytest.mark.parametrize(
    ("trouble", "kind"), [(REFUSED, Unreachable), (CUT, Unreachable), (BUSY, Unavailable), (error(502, "x"), Unavailable)]
)
def test_patience_ends(trouble: Response | NoAnswer, kind: type[Exception]) -> None:
    dialogue = Dialogue(retry_s=5)

    with pytest.raises(kind):
        dialogue.run(dialogue.core.stats(), itertools.repeat(trouble))

    assert len(dialogue.requests) > 3 and sum(dialogue.pauses) < 5


@pytest.mark.parametrize(
    "refusal", [error(400, "invalid_field", field="queue"), error(500, "internal_error"), error(404, "not_found")]
)
def test_what_cannot_help_is_not_repeated(dialogue: Dialogue, refusal: Response) -> None:
    with pytest.raises(Exception) as raised:
        dialogue.run(dialogue.core.submit("echo", 1, {}), [refusal])

    told = json.loads(refusal.body)["error"]
    assert {name: getattr(raised.value, name) for name in told} == told and dialogue.pauses == []


def test_a_job_is_a_value_with_times_and_decoded_texts(dialogue: Dialogue) -> None:
    stored = a_job(job_id=ID, payload=b'{"a":[1.0,null]}', status=Status.COMPLETED, result=b'"x"', max_retries=3)

    job = dialogue.run(dialogue.core.get(ID), [shown(stored)])

    assert dialogue.asked() == [f"GET /api/jobs/{ID}"]
    assert (job.payload, job.result, job.status, job.max_retries) == ({"a": [1.0, None]}, "x", Status.COMPLETED, 3)
    assert job.scheduled_at == stored.scheduled_at and job.scheduled_at.tzinfo == UTC and job.finished_at is None


def test_an_id_cannot_lead_elsewhere(dialogue: Dialogue) -> None:
    with pytest.raises(NotFound):
        dialogue.run(dialogue.core.get("../../stats?x#y"), [error(404, "not_found")])

    assert dialogue.asked() == ["GET /api/jobs/..%2F..%2Fstats%3Fx%23y"]


# ---- waiting


def test_waiting_looks_again_less_and_less_often(dialogue: Dialogue) -> None:
    looks = itertools.chain([shown(status=Status.RUNNING)] * 60, [shown(status=Status.FAILED)])

    job = dialogue.run(dialogue.core.wait(ID, None), looks)

    assert job.status is Status.FAILED
    assert dialogue.pauses == sorted(dialogue.pauses) and (dialogue.pauses[0], dialogue.pauses[-1]) == (0.02, 2.0)


def test_waiting_ends_in_time_and_says_how_the_job_was(dialogue: Dialogue) -> None:
    with pytest.raises(NotFinished, match=f"{ID} had not ended after 3 s; it was queued") as raised:
        dialogue.run(dialogue.core.wait(ID, 3), itertools.repeat(shown(status=Status.QUEUED)))

    assert sum(dialogue.pauses) == pytest.approx(3) and raised.value.code == "not_finished"


def test_no_look_takes_longer_than_there_is_time_left() -> None:
    dialogue = Dialogue(request_takes_s=1)

    with pytest.raises(NotFinished):
        dialogue.run(dialogue.core.wait(ID, 2.5), itertools.repeat(shown(status=Status.QUEUED)))

    taken = [(request.timeout_s or 0) + request.wait_s for request in dialogue.requests]
    assert taken[:2] == [2.5, pytest.approx(1.25)]


def test_the_service_is_asked_to_answer_at_the_end_of_the_job_or_of_the_time(dialogue: Dialogue) -> None:
    dialogue.run(dialogue.core.wait(ID, None), [shown(status=Status.COMPLETED)])
    dialogue.run(dialogue.core.wait(ID, 5), [shown(status=Status.COMPLETED)])
    dialogue.run(dialogue.core.wait(ID, 0.05), [shown(status=Status.COMPLETED)])

    path = f"GET /api/jobs/{ID}"
    assert dialogue.asked() == [f"{path}?wait_s=30.000", f"{path}?wait_s=4.000", path]


def test_a_service_that_waits_is_asked_again_without_a_pause() -> None:
    dialogue = Dialogue(request_takes_s=30)

    dialogue.run(dialogue.core.wait(ID, None), [*[shown(status=Status.RUNNING)] * 3, shown(status=Status.COMPLETED)])

    assert dialogue.pauses == []


def test_where_no_more_can_wait_it_is_looked_again_and_again(dialogue: Dialogue) -> None:
    job = dialogue.run(dialogue.core.wait(ID, None), [BUSY, shown(), shown(), shown(status=Status.COMPLETED)])

    assert job.status is Status.COMPLETED
    assert dialogue.asked() == [f"GET /api/jobs/{ID}?wait_s=30.000"] + [f"GET /api/jobs/{ID}"] * 3
    assert dialogue.pauses == [0.02, 0.02]


def test_waiting_bears_a_short_outage(dialogue: Dialogue) -> None:
    job = dialogue.run(dialogue.core.wait(ID, 20), [shown(), REFUSED, CUT, BUSY, shown(status=Status.COMPLETED)])

    assert job.status is Status.COMPLETED


def test_an_outage_longer_than_the_wait_is_told_as_both(dialogue: Dialogue) -> None:
    with pytest.raises(NotFinished, match="it was pending; last answer: connection refused"):
        dialogue.run(dialogue.core.wait(ID, 5), itertools.chain([shown()], itertools.repeat(REFUSED)))


def test_an_outage_longer_than_the_patience_ends_a_longer_wait(dialogue: Dialogue) -> None:
    with pytest.raises(Unreachable):
        dialogue.run(dialogue.core.wait(ID, 500), itertools.repeat(REFUSED))


# ---- cancel and retry, which are not simply sent twice


def test_whatever_else_is_asked_is_repeated_only_when_it_is_a_question(dialogue: Dialogue) -> None:
    found = dialogue.run(dialogue.core.ask("GET", "/api/tasks"), [CUT, ok([1])])
    with pytest.raises(Unreachable):
        dialogue.run(dialogue.core.ask("POST", "/api/jobs/cancel", {"filter": {}}), [CUT])
    done = dialogue.run(dialogue.core.ask("POST", "/api/jobs/cancel", {"filter": {}}), [REFUSED, ok({"changed": 1})])

    assert (found, done) == ([1], {"changed": 1})
    assert dialogue.asked() == ["GET /api/tasks"] * 2 + ["POST /api/jobs/cancel"] * 3
    assert body_of(dialogue, 4) == {"filter": {}}


def test_a_cancel_whose_answer_was_lost_is_settled_by_looking(dialogue: Dialogue) -> None:
    job = dialogue.run(dialogue.core.cancel(ID), [CUT, shown(status=Status.CANCELLED)])

    assert job.status is Status.CANCELLED
    assert dialogue.asked() == [f"POST /api/jobs/{ID}/cancel", f"GET /api/jobs/{ID}"]


def test_a_cancel_that_was_not_done_is_sent_again(dialogue: Dialogue) -> None:
    answers = [BROKE_OFF, shown(status=Status.RUNNING), shown(status=Status.RUNNING)]

    job = dialogue.run(dialogue.core.cancel(ID), answers)

    assert job.status is Status.RUNNING and [name[:4] for name in dialogue.asked()] == ["POST", "GET ", "POST"]


def test_a_refused_cancel_is_no_success_because_somebody_else_did_it(dialogue: Dialogue) -> None:
    with pytest.raises(Conflict):
        dialogue.run(dialogue.core.cancel(ID), [error(409, "conflict")])


def test_a_cancel_done_between_two_looks_is_a_success(dialogue: Dialogue) -> None:
    answers = [CUT, shown(), error(409, "conflict"), shown(status=Status.CANCELLED)]

    assert dialogue.run(dialogue.core.cancel(ID), answers).status is Status.CANCELLED


def test_a_job_that_ended_while_its_cancel_was_lost_stands_against_it(dialogue: Dialogue) -> None:
    with pytest.raises(Conflict):
        dialogue.run(dialogue.core.cancel(ID), [CUT, shown(), error(409, "conflict"), shown(status=Status.COMPLETED)])


@pytest.mark.parametrize("lost", [CUT, BROKE_OFF, error(504, "x"), error(503, "outcome_unknown")])
def test_a_retry_is_done_once_as_the_epoch_tells(dialogue: Dialogue, lost: Response | NoAnswer) -> None:
    failed_again = shown(status=Status.FAILED, epoch=8)

    job = dialogue.run(dialogue.core.retry(ID), [shown(status=Status.FAILED, epoch=5), lost, failed_again])

    assert job.epoch == 8 and [name[:4] for name in dialogue.asked()] == ["GET ", "POST", "GET "]


@pytest.mark.parametrize("not_done", [REFUSED, BUSY])
def test_a_retry_that_never_arrived_is_simply_sent_again(dialogue: Dialogue, not_done: Response | NoAnswer) -> None:
    failed = shown(status=Status.FAILED, epoch=5)

    dialogue.run(dialogue.core.retry(ID), [failed, not_done, shown(epoch=6)])

    assert [name[:4] for name in dialogue.asked()] == ["GET ", "POST", "POST"]


def test_a_retry_that_is_lost_for_ever_ends() -> None:
    dialogue = Dialogue(retry_s=2)
    failed = shown(status=Status.FAILED, epoch=5)

    with pytest.raises(Unreachable, match="reset"):
        dialogue.run(dialogue.core.retry(ID), itertools.chain([failed], itertools.cycle([CUT, failed])))


# ---- lists, stats, health


def test_a_list_is_followed_by_its_link(dialogue: Dialogue) -> None:
    path = list_path(page=2, status=Status.PENDING, task=None, queue="a b")
    link = '</other?x=1>; rel="prev", </jobs?status=pending&cursor=c%2F1>; rel="next"'

    first = dialogue.run(dialogue.core.page(path), [Response(status=200, headers={"link": link}, body=b"[]")])
    last = dialogue.run(dialogue.core.page(str(first.next_path)), [ok([])])

    assert dialogue.asked() == ["GET /api/jobs?status=pending&queue=a+b&limit=2", "GET /api/jobs?status=pending&cursor=c%2F1"]
    assert last.next_path is None


def test_a_link_to_another_host_is_followed_at_ours(dialogue: Dialogue) -> None:
    link = '<https://elsewhere.example/jobs?cursor=2>; rel="next"'

    page = dialogue.run(dialogue.core.page("/api/jobs"), [Response(status=200, headers={"link": link}, body=b"[]")])

    assert page.next_path == "/api/jobs?cursor=2"


def test_ill_health_is_an_answer_at_once(dialogue: Dialogue) -> None:
    told = {"status": "unhealthy", "down": ["queue-6000"], "components": {"queue-6000": {"status": "down"}}, "error": {}}

    health = dialogue.run(dialogue.core.health(), [ok(told, 503, **{"retry-after": "1"})])

    assert not health.is_healthy and health.down == ("queue-6000",) and dialogue.pauses == []


@pytest.mark.parametrize(("answer", "kind"), [(REFUSED, Unreachable), (error(503, "unavailable"), Unavailable)])
def test_no_word_on_health_is_an_error_at_once(dialogue: Dialogue, answer: Response | NoAnswer, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        dialogue.run(dialogue.core.health(), [answer])


# ---- many


def chunks_of(chunker: Chunker, count: int) -> list[object]:
    return [chunk for chunk in [*(chunker.add({"payload": number}) for number in range(count)), chunker.rest()] if chunk]


def test_many_jobs_are_cut_into_chunks_with_a_key_a_place() -> None:
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
def test_a_chunk_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match=f"chunk must be from 1 to {MAX_BATCH}"):
        Chunker(count, "k")


def test_a_chunk_is_repeated_with_the_same_keys(dialogue: Dialogue) -> None:
    chunker = Chunker(2, "k")
    chunker.add({"payload": 1})
    chunk = chunker.add({"payload": 2, "idempotency_key": "mine"})
    assert chunk is not None

    ids = dialogue.run(dialogue.core.submit_chunk(chunk), [CUT, BUSY, ok({"job_ids": [ID, ID]}, 201)])

    assert ids == [ID, ID] and len({request.body for request in dialogue.requests}) == 1
    assert dialogue.requests[0].body == (
        b'{"jobs":[{"idempotency_key":"k-0","payload":1},{"idempotency_key":"mine","payload":2}]}'
    )


def test_a_bad_job_is_named_by_its_place_among_all(dialogue: Dialogue) -> None:
    chunker = Chunker(2, "k")
    _, first, _, second = (chunker.add({"payload": number}) for number in range(4))
    assert first is not None and second is not None

    with pytest.raises(InvalidRequest) as raised:
        answer = error(400, "invalid_field", message="jobs[1]: priority must be lower", field="jobs[1].priority")
        dialogue.run(dialogue.core.submit_chunk(second), [answer])

    assert (raised.value.message, raised.value.field) == ("jobs[3]: priority must be lower", "jobs[3].priority")
    assert raised.value.__notes__ == ["2 jobs before are stored; with the same jobs and idempotency_key='k' none is stored twice"]


def test_trouble_with_a_later_chunk_says_how_to_go_on() -> None:
    dialogue = Dialogue(retry_s=1)
    chunker = Chunker(1, "k")
    first, second = (chunker.add({"payload": number}) for number in range(2))
    assert first is not None and second is not None

    with pytest.raises(Unavailable) as early:
        dialogue.run(dialogue.core.submit_chunk(first), itertools.repeat(BUSY))
    with pytest.raises(Unavailable) as late:
        dialogue.run(dialogue.core.submit_chunk(second), itertools.repeat(BUSY))

    assert not hasattr(early.value, "__notes__") and "1 jobs before are stored" in late.value.__notes__[0]


@pytest.mark.parametrize("payload", [float("nan"), object(), "\ud800", {1, 2}])
def test_what_is_no_json_is_refused_before_it_is_sent(dialogue: Dialogue, payload: object) -> None:
    with pytest.raises(InvalidRequest, match="cannot be sent as JSON") as raised:
        dialogue.run(dialogue.core.submit("echo", payload, {}), [])
    with pytest.raises(InvalidRequest) as of_many:
        Chunker(2, "k").add({"payload": payload})

    assert (raised.value.field, of_many.value.field) == ("payload", "jobs[0].payload")


def test_a_time_without_a_zone_is_refused(dialogue: Dialogue) -> None:
    with pytest.raises(InvalidRequest, match="time zone"):
        dialogue.run(dialogue.core.submit("echo", 1, {"scheduled_at": datetime(2026, 1, 1)}), [])  # noqa: DTZ001
