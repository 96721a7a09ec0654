"""Which jobs a list and a count find, and that neither looks at more than it may."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, JobFilter, Status
from jobyard.engine.store.port import Served, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.world import START


def payloads(store: Store, wanted: JobFilter) -> list[bytes]:
    """Of all pages, the newest last."""
    return [job.payload for job in reversed(all_pages(store, wanted))]


def all_pages(store: Store, wanted: JobFilter, *, limit: int = 100, look: int = 1000) -> list[Job]:
    jobs: list[Job] = []
    cursor = None
    while True:
        page = store.list_jobs(wanted, limit=limit, cursor=cursor, look=look)
        jobs += page.jobs
        cursor = page.cursor
        if cursor is None:
            return jobs


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("invoice", b'{"kind":"invoice"}'), ("INVOICE", b'{"kind":"invoice"}'), ("invoice", b'{"kind":"InVoice"}'),
        ("100%", b'"100% sure"'), ("a_b", b'"a_b"'), (".*", b'".*"'), ("$where", b'{"$where":1}'), ("(", b'"("'), ("[a", b'"[a"'),
        ("a\\b", b'"a\\\\b"'),
        ('say "hi"', b'"say \\"hi\\""'), ("caf\u00e9", '"caf\u00e9"'.encode()), ("caf\u00e9", b'"caf\\u00e9"'),
        ("CAF\u00c9", '"caf\u00e9"'.encode()), ("CAF\u00c9", b'"caf\\u00e9"'),
        ("a b", b'"a b"'), ("#-~&", b'"#-~&"'), ("'; --", b'"\'; --"'),
    ],
)  # fmt: skip
def test_text_is_found_in_a_payload_whatever_it_holds(store: Store, text: str, payload: bytes) -> None:
    store.insert([[a_job(payload=b'"something else"'), a_job(payload=payload), a_job(payload=b"null")]])

    assert payloads(store, JobFilter(text=text)) == [payload]
    assert store.count_jobs(JobFilter(text=text)).count == 1


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("00e4", b'"\\u00e4"'), ("u00e4", b'"\\u00e4"'), ("\\u00e4", b'"\\u00e4"'), ("nx", b'"\\nx"'),
        ("\\n", b'"\\n"'), ("\\/", b'"\\/"'),
        ("\u00e4", b'"\\\\u00e4"'), ("\\\\", b'"\\\\"'), ('\\"', b'"\\""'), ("d83d", b'"\\ud83d\\ude00"'),
    ],
)  # fmt: skip
def test_text_is_not_found_in_the_escapes_of_an_encoder(store: Store, text: str, payload: bytes) -> None:
    store.insert([[a_job(payload=payload), a_job(payload=b"[1]")]])

    assert payloads(store, JobFilter(text=text)) == []
    assert store.count_jobs(JobFilter(text=text)).count == 0


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("\u00e4", b'"\\u00E4"'), ("\u00c4", b'"\\u00e4"'), ("\U0001f600", b'"\\ud83d\\ude00"'),
        ("<b>", b'"\\u003cb\\u003E"'), ("a/b", b'"a\\/b"'),
        ("abc", b'"\\u0061b\\u0043"'), ("x\u00e4x", '"x\\\\\u00e4x\u00e4x"'.encode()),
        ("\\u00e4", b'"\\\\u00e4"'), ("\\", b'"\\\\"'),
        ('{"a": ["b"', b'{"a": ["b", 1]}'),
    ],
)  # fmt: skip
def test_text_is_found_however_an_encoder_escaped_it(store: Store, text: str, payload: bytes) -> None:
    store.insert([[a_job(payload=payload), a_job(payload=b"[1]")]])

    assert payloads(store, JobFilter(text=text)) == [payload]
    assert store.count_jobs(JobFilter(text=text)).count == 1


@pytest.mark.parametrize("text", ["%", "_", ".", ".*", "^", "$", "(?i)", "\\d", '{"$ne": null}', "a|b"])
def test_text_is_never_a_pattern(store: Store, text: str) -> None:
    store.insert([[a_job(payload=b'"abc 123"')]])

    assert payloads(store, JobFilter(text=text)) == []


def test_text_is_found_in_an_error(store: Store) -> None:
    store.insert([[a_job(payload=b"1", error="Connection refused\nby peer"), a_job(payload=b"2", error="no such file")]])

    assert payloads(store, JobFilter(text="connection REFUSED")) == [b"1"]


def test_what_was_created_at_a_time_is_after_and_not_before_it(store: Store) -> None:
    times = [START + timedelta(milliseconds=number) for number in range(4)]
    for number, at in enumerate(times):
        store.insert([[a_job(payload=b"%d" % number, created_at=at)]])

    assert payloads(store, JobFilter(created_after=times[1])) == [b"1", b"2", b"3"]
    assert payloads(store, JobFilter(created_before=times[1])) == [b"0"]
    assert payloads(store, JobFilter(created_after=times[1], created_before=times[3])) == [b"1", b"2"]
    assert payloads(store, JobFilter(created_after=times[3], created_before=times[1])) == []
    assert payloads(store, JobFilter(created_before=times[2], task="echo", status=Status.PENDING)) == [b"0", b"1"]


def test_jobs_are_listed_by_their_time_even_where_they_came_in_another_order(store: Store) -> None:
    later, earlier = a_job(created_at=START + timedelta(hours=1)), a_job(created_at=START - timedelta(days=400))
    store.insert([[later]])
    store.insert([[earlier]])

    assert [job.job_id for job in all_pages(store, JobFilter(), limit=1)] == [later.job_id, earlier.job_id]


@pytest.mark.parametrize(
    "wanted", [JobFilter(text="wanted"), JobFilter(status=Status.PENDING, task="mail"), JobFilter(status=Status.PENDING, text="w")]
)
def test_a_page_that_must_look_at_many_jobs_ends_early_and_goes_on(store: Store, wanted: JobFilter) -> None:
    few = [a_job(task="mail", queue="q", payload=b'"wanted"') for _ in range(3)]
    many = [[a_job(payload=b'"no"') for _ in range(10)] for _ in range(3)]
    store.insert([[*many[0], few[0], *many[1], few[1], few[2], *many[2]]])

    first = store.list_jobs(wanted, limit=100, look=5)

    assert (first.jobs, first.cursor is None) == ([], False)
    assert [job.job_id for job in all_pages(store, wanted, look=5)] == [job.job_id for job in reversed(few)]
    assert [job.job_id for job in all_pages(store, wanted, limit=1, look=7)] == [job.job_id for job in reversed(few)]


def test_jobs_can_be_listed_without_their_payloads(store: Store) -> None:
    store.insert([[a_job(payload=b'"large"')]])

    assert [job.payload for job in store.list_jobs(JobFilter(), limit=1, whole=False).jobs] == [b"null"]
    assert [job.payload for job in store.list_jobs(JobFilter(text="LARGE"), limit=1, whole=False).jobs] == [b"null"]


def test_a_count_is_exact_while_little_must_be_looked_at(store: Store) -> None:
    store.insert([[a_job(task="mail"), a_job(task="mail", queue="q"), a_job(queue="q"), a_job()]])
    counts = {
        JobFilter(): 4, JobFilter(status=Status.PENDING): 4, JobFilter(status=Status.FAILED): 0, JobFilter(task="mail"): 2,
        JobFilter(task="mail", queue="q"): 1, JobFilter(created_after=START): 4, JobFilter(created_before=START): 0,
        JobFilter(text="null", task="mail"): 2,
    }  # fmt: skip

    for wanted, number in counts.items():
        told = store.count_jobs(wanted)

        assert (told.count, told.is_exact) == (number, True), wanted


@pytest.mark.parametrize("wanted", [JobFilter(task="echo"), JobFilter(task="echo", queue="default"), JobFilter(text="null")])
def test_a_count_that_stopped_looking_says_so(store: Store, wanted: JobFilter) -> None:
    store.insert([[a_job() for _ in range(20)]])

    told = store.count_jobs(wanted, look=5)

    assert (told.count, told.is_exact) == (5, False)


def test_jobs_that_have_ended_or_are_not_there_are_told_from_the_others(store: Store) -> None:
    waiting = [a_job() for _ in range(150)]
    gone = a_job()
    store.insert([[*waiting, gone]])
    store.apply([lifecycle.cancel(gone, now=START)])

    assert store.ended([*(job.job_id for job in waiting[:70]), gone.job_id, "f" * 24]) == [gone.job_id, "f" * 24]
    assert store.ended([]) == []


def test_a_version_changes_with_every_commit_of_anybody_and_with_nothing_else(open_another: Open) -> None:
    mine, other = open_another(), open_another()
    before = mine.version()
    if before is None:
        return  # it cannot tell

    assert mine.version() == before
    for store in (mine, other):
        seen = mine.version()
        store.insert([[a_job()]])
        assert mine.version() != seen
        assert mine.version() == mine.version()


def test_those_ahead_are_what_a_claim_takes_first(store: Store) -> None:
    mine = a_job(priority=5)
    earlier, high = a_job(scheduled_at=START - timedelta(seconds=1)), a_job(priority=9)
    behind = [a_job(priority=5), a_job(priority=4), a_job(priority=9, scheduled_at=START + timedelta(hours=1))]
    others = [a_job(priority=9, task="mail"), a_job(priority=9, queue="q")]
    store.insert([[earlier, mine, high, *behind, *others]])
    store.insert([[gone := a_job(priority=9)]])
    store.apply([lifecycle.cancel(gone, now=START)])

    assert store.count_ahead(mine, now=START).count == 4
    served = Served(tasks=("echo",), queues=("default",))
    told = store.count_ahead(mine, now=START, served=served)
    assert (told.count, told.is_exact) == (2, True)
    assert store.count_ahead(earlier, now=START, served=Served(tasks=())).count == 0


def test_those_ahead_are_counted_as_far_as_may_be_looked(store: Store) -> None:
    mine = a_job(priority=3)
    store.insert([[a_job(priority=9) for _ in range(10)] + [mine]])

    told = store.count_ahead(mine, now=START, look=4)

    assert (told.count, told.is_exact) == (4, False)
