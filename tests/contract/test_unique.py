"""Unique keys: at most one living job holds one, whoever submits, and nothing is held that no row holds."""

from __future__ import annotations

import threading
from datetime import timedelta

import msgspec
import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status, Unique
from jobyard.engine.store.port import Inserted, KeyTaken, NotUnique, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.world import START

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"
SECOND = timedelta(seconds=1)


def unique(key: str = "echo/k", *, at: float = 0, delay_s: float = 0, **how: object) -> Job:
    """A job with a unique key that is accepted so many seconds after the start."""
    accepted_at = START + at * SECOND
    fields = {name: how.pop(name) for name in list(how) if name not in Unique.__struct_fields__}
    asked = Unique(**how)  # type: ignore[arg-type]
    return a_job(
        **{
            "unique_key": key, "held_key": key, "unique": asked, "created_at": accepted_at, "updated_at": accepted_at,
            "held_until": accepted_at + asked.for_s * SECOND if asked.for_s else None,
            "scheduled_at": accepted_at + delay_s * SECOND,
            **fields,
        }
    )  # fmt: skip


def debounce(payload: bytes, **how: object) -> Job:
    return unique(payload=payload, until="begun", on_conflict="replace", **how)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which store the test has."""
    return str(request.node.callspec.params["open_another"])


def insert(store: Store, *jobs: Job) -> Inserted:
    (answer,) = store.insert([jobs])
    assert isinstance(answer, Inserted)
    return answer


def stored(store: Store, job: Job) -> Job:
    (found,) = store.find([job.job_id])
    assert found is not None
    return found


def begin(store: Store, job: Job) -> Job:
    """Begin an attempt in the second in which the job was accepted."""
    found = stored(store, job)
    claimed = lifecycle.claim(found, owner=WATCHER, now=found.created_at)
    queued = lifecycle.enqueue(claimed.after(found), now=found.created_at)
    begun = lifecycle.begin(queued.after(claimed.after(found)), owner=WORKER, now=found.created_at, lease_s=30)
    assert store.apply([claimed, queued, begun]) == [True, True, True]
    return stored(store, job)


def end(store: Store, job: Job, status: ExecutionStatus = ExecutionStatus.SUCCESS, after_s: float = 0) -> Job:
    found = stored(store, job)
    outcome = Outcome(status=status, error=None if status is ExecutionStatus.SUCCESS else "no", unrecoverable=True)
    change = lifecycle.settle(found, outcome, now=found.created_at + after_s * SECOND, retry_base_s=1)
    assert store.apply([change]) == [True]
    return stored(store, job)


def test_a_second_submission_is_told_the_holder(store: Store, open_another: Open) -> None:
    first, second = unique(), unique()
    assert insert(store, first) == Inserted(job_ids=[first.job_id])

    answer = insert(open_another(), second)

    assert answer == Inserted(job_ids=[first.job_id], existing=(0,))
    assert store.counts()[Status.PENDING] == 1 and store.find([second.job_id]) == [None]


def test_other_keys_and_jobs_without_one_are_no_matter(store: Store) -> None:
    answer = insert(store, unique("a/1"), unique("a/2"), a_job(), a_job())

    assert answer.existing == () and store.counts()[Status.PENDING] == 4


def test_the_same_request_come_again_is_no_conflict_with_itself(store: Store) -> None:
    job = unique()
    insert(store, job)

    assert insert(store, job) == Inserted(job_ids=[job.job_id])

    begin(store, job)
    end(store, job)
    later = unique()
    insert(store, later)

    assert insert(store, job) == Inserted(job_ids=[job.job_id]), "though another has its key by now"
    assert store.list_jobs(JobFilter(unique_key="echo/k"), limit=9).jobs == [stored(store, later), stored(store, job)]


def test_a_refusal_stores_nothing_of_its_request(store: Store) -> None:
    holder, innocent = unique(), a_job()
    insert(store, holder)

    (answer,) = store.insert([[innocent, unique(on_conflict="refuse")]])

    assert answer == NotUnique(index=1, key="echo/k", job_id=holder.job_id)
    assert store.find([innocent.job_id]) == [None]


@pytest.mark.parametrize("status", [ExecutionStatus.SUCCESS, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED])
def test_the_end_of_the_holder_gives_the_key_up(store: Store, status: ExecutionStatus) -> None:
    first, second = unique(), unique()
    insert(store, first)
    begin(store, first)
    assert insert(store, unique()).existing == (0,), "until then it is held"

    end(store, first, status)

    assert insert(store, second) == Inserted(job_ids=[second.job_id])
    assert stored(store, first).unique_key == "echo/k"


@pytest.mark.parametrize("verb", ["cancel", "purge", "lost"])
def test_whatever_ends_the_holder_leaves_nothing_held(store: Store, verb: str) -> None:
    first = unique()
    insert(store, first)
    if verb == "cancel":
        assert store.apply([lifecycle.cancel(first, now=START)]) == [True]
    else:
        running = begin(store, first)
        change = lifecycle.recover(running, now=START, max_lost=1)
        assert store.apply([change]) == [True]
    if verb == "purge":
        assert store.purge(before=START + SECOND, limit=9) == 1

    assert insert(store, unique()).existing == ()


def test_until_begun_the_first_attempt_gives_the_key_up_for_good(store: Store) -> None:
    first, second = unique(until="begun"), unique(until="begun")
    insert(store, first)
    running = begin(store, first)
    insert(store, second)

    failed = lifecycle.settle(running, Outcome(status=ExecutionStatus.FAILED, error="x"), now=START, retry_base_s=1)

    assert store.apply([failed]) == [True], "no transition of a living job conflicts"
    assert stored(store, first).held_key is None and stored(store, second).held_key == "echo/k"


def test_a_window_outlives_its_job_and_ends_exactly(store: Store) -> None:
    first = unique(for_s=10)
    insert(store, first)
    begin(store, first)
    end(store, first, after_s=1)

    assert insert(store, unique(at=9.999)).job_ids == [first.job_id]
    assert insert(store, unique(at=9.999, for_s=60)).job_ids == [first.job_id], "a refused one does not move the window"
    last = unique(at=10)
    assert insert(store, last) == Inserted(job_ids=[last.job_id])
    assert stored(store, first).held_key is None


def test_until_begun_with_a_window_it_is_held_until_both_have_passed(store: Store) -> None:
    first = unique(until="begun", for_s=10)
    insert(store, first)

    assert insert(store, unique(at=11)).existing == (0,), "it has not begun"
    running = begin(store, first)
    assert running.held_key is not None and insert(store, unique(at=9)).existing == (0,), "the window has not passed"
    assert insert(store, unique(at=10)).existing == ()


def test_a_held_row_is_not_purged(store: Store) -> None:
    first, plain = unique(for_s=100), a_job()
    insert(store, first, plain)
    for job in (first, plain):
        begin(store, job)
        end(store, job)

    assert store.purge(before=START + 50 * SECOND, limit=9) == 1
    assert store.find([plain.job_id]) == [None] and insert(store, unique(at=60)).existing == (0,)
    assert store.purge(before=START + 101 * SECOND, limit=9) == 1 and store.find([first.job_id]) == [None]


def test_a_replacement_brings_the_holder_newer_data(store: Store) -> None:
    first = debounce(b"1", delay_s=1)
    insert(store, first)

    answer = insert(store, debounce(b"2", at=0.5, delay_s=1, priority=9, queue="q", max_retries=1, timeout_s=2.0, tags=("t",)))

    assert answer == Inserted(job_ids=[first.job_id], existing=(0,), replaced=(0,), replaced_due_at=START + 1.5 * SECOND)
    job = stored(store, first)
    assert (job.payload, job.priority, job.queue, job.max_retries, job.timeout_s, job.tags) == (b"2", 9, "q", 1, 2.0, ("t",))
    assert (job.created_at, job.scheduled_at, job.epoch) == (START, START + 1.5 * SECOND, 1)
    assert store.next_due() == job.scheduled_at


def test_a_steady_stream_puts_the_job_off_no_longer_than_at_latest(store: Store) -> None:
    first = debounce(b"0", delay_s=1, at_latest_s=3)
    insert(store, first)

    for number in range(1, 8):
        insert(store, debounce(b"%d" % number, at=number * 0.5, delay_s=1, at_latest_s=3))

    job = stored(store, first)
    assert (job.payload, job.scheduled_at) == (b"7", START + 3 * SECOND)


def test_the_claim_that_begins_a_job_gives_up_its_key(store: Store) -> None:
    first, second = debounce(b"1"), debounce(b"2", at=1)
    insert(store, first)

    (begun,) = claim(store)

    assert (begun.held_key, begun.unique_key) == (None, first.unique_key)
    assert begun == stored(store, first)
    assert insert(store, second) == Inserted(job_ids=[second.job_id])
    assert stored(store, first).payload == b"1"


def test_a_claim_leaves_a_key_that_is_held_until_the_end_or_the_end_of_a_window(store: Store) -> None:
    until_ended, window = unique("echo/a"), debounce(b"1", key="echo/b", for_s=10)
    window = msgspec.structs.replace(window, unique=Unique(until="begun", for_s=10))
    insert(store, until_ended, window)

    begun = {job.job_id: job for job in claim(store)}

    assert begun[until_ended.job_id].held_key == "echo/a"
    assert begun[window.job_id].held_key == "echo/b"


def test_a_key_that_was_given_up_is_not_taken_again_when_the_begin_is_undone(store: Store) -> None:
    insert(store, debounce(b"1"))
    (begun,) = claim(store)

    assert store.apply([lifecycle.return_unstarted(begun, now=START)]) == [True]

    assert stored(store, begun).held_key is None


def test_a_holder_of_another_task_is_not_replaced(store: Store) -> None:
    holder = debounce(b"1", key="/shared", task="echo")
    insert(store, holder)

    (answer,) = store.insert([[debounce(b"2", key="/shared", task="mail")]])

    assert answer == NotUnique(index=0, key="/shared", job_id=holder.job_id)


def test_a_running_holder_that_keeps_the_key_to_its_end_refuses_a_replacement(store: Store) -> None:
    holder = unique(until="ended")
    insert(store, holder)
    begin(store, holder)

    (answer,) = store.insert([[debounce(b"2")]])

    assert isinstance(answer, NotUnique), "its data would be lost"


def test_equal_keys_in_one_request_are_one_job(store: Store) -> None:
    first, second = unique(), unique()

    assert insert(store, first, a_job(), second).job_ids[::2] == [first.job_id] * 2
    assert store.counts()[Status.PENDING] == 2


def test_of_equal_keys_that_replace_the_last_ones_data_stays(store: Store) -> None:
    jobs = [debounce(b"%d" % number) for number in range(3)]

    answer = insert(store, *jobs)

    assert (answer.job_ids, answer.existing, answer.replaced) == ([jobs[0].job_id] * 3, (1, 2), (1, 2))
    assert stored(store, jobs[0]).payload == b"2"


def test_a_request_of_several_replaces_and_stores(store: Store) -> None:
    holder, plain = debounce(b"1"), a_job()
    insert(store, holder)

    answer = insert(store, plain, debounce(b"2"), debounce(b"3"), a_job())

    assert (answer.existing, answer.replaced, answer.stored) == ((1, 2), (1, 2), 2)
    assert stored(store, holder).payload == b"3" and store.counts()[Status.PENDING] == 3


def test_two_that_refuse_each_other_in_one_request_name_no_job(store: Store) -> None:
    (answer,) = store.insert([[unique(on_conflict="refuse"), unique(on_conflict="refuse")]])

    assert answer == NotUnique(index=1, key="echo/k", job_id=None) and store.counts()[Status.PENDING] == 0


def test_requests_of_one_call_see_each_other(store: Store) -> None:
    jobs = [debounce(b"%d" % number) for number in range(20)]

    answers = store.insert([[job] for job in jobs])

    assert {answer.job_ids[0] for answer in answers if isinstance(answer, Inserted)} == {jobs[0].job_id}
    assert stored(store, jobs[0]).payload == b"19"


def test_a_request_with_an_idempotency_key_gets_the_same_answer_again(store: Store) -> None:
    holder = debounce(b"1")
    insert(store, holder)
    older = debounce(b"2", idempotency_key="r", request_digest=b"two")
    told = insert(store, older)
    assert told.replaced == (0,)
    insert(store, debounce(b"3"))

    again = insert(store, debounce(b"2", idempotency_key="r", request_digest=b"two"))

    assert (again.job_ids, again.existing, again.replaced) == (told.job_ids, told.existing, told.replaced)
    assert stored(store, holder).payload == b"3", "it brings no older data back"
    (other,) = store.insert([[debounce(b"4", idempotency_key="r", request_digest=b"four")]])
    assert other == KeyTaken(index=0, job_id=holder.job_id)


def test_what_is_remembered_with_a_holder_goes_with_it(store: Store) -> None:
    holder = unique()
    insert(store, holder)
    assert insert(store, unique(idempotency_key="r", request_digest=b"d")).existing == (0,)
    begin(store, holder)
    end(store, holder)
    store.purge(before=START + SECOND, limit=9)

    new = unique(idempotency_key="r", request_digest=b"other")

    assert insert(store, new) == Inserted(job_ids=[new.job_id])


def test_a_retry_takes_the_key_again_unless_another_holds_it(store: Store, kind: str) -> None:
    first, second = unique(), unique()
    insert(store, first)
    begin(store, first)
    failed = end(store, first, ExecutionStatus.FAILED)
    insert(store, second)
    retry = lifecycle.retry(failed, now=START)

    assert store.free_key("echo/k", now=START) is not None
    if kind != "mongomock":  # whose unique indexes hold for inserts only
        assert store.apply([retry]) == [False]
    assert store.apply([lifecycle.cancel(stored(store, second), now=START)]) == [True]
    assert store.free_key("echo/k", now=START) is None
    assert store.apply([retry]) == [True] and insert(store, unique()).job_ids == [first.job_id]


def test_a_refused_retry_hurts_no_other_change(store: Store, kind: str) -> None:
    if kind == "mongomock":
        pytest.skip("its unique indexes hold for inserts only")
    first, second, plain = unique(), unique(), a_job()
    insert(store, first, plain)
    begin(store, first)
    failed = end(store, first, ExecutionStatus.FAILED)
    insert(store, second)
    begin(store, plain)

    cancel = lifecycle.cancel(stored(store, second), now=START + SECOND)
    assert store.apply([lifecycle.retry(failed, now=START), lifecycle.cancel(stored(store, plain), now=START)]) == [False, True]
    assert store.apply([cancel]) == [True]


def test_a_window_that_has_passed_is_given_up_to_a_retry(store: Store) -> None:
    first, second = unique(), unique(for_s=10, at=1)
    insert(store, first)
    begin(store, first)
    failed = end(store, first, ExecutionStatus.FAILED)
    insert(store, second)
    begin(store, second)
    end(store, second)

    held = store.free_key("echo/k", now=START + 5 * SECOND)
    assert held is not None and held.job_id == second.job_id
    assert store.free_key("echo/k", now=START + 11 * SECOND) is None
    assert store.apply([lifecycle.retry(failed, now=START + 11 * SECOND)]) == [True]


def test_until_begun_a_retry_goes_without_the_key(store: Store) -> None:
    first = unique(until="begun")
    insert(store, first)
    begin(store, first)
    failed = end(store, first, ExecutionStatus.FAILED)
    insert(store, unique(until="begun"))

    assert store.apply([lifecycle.retry(failed, now=START)]) == [True]
    assert stored(store, first).held_key is None


def test_many_submitters_at_once_store_one_job(open_another: Open, kind: str) -> None:
    if kind != "mongo":
        pytest.skip("a store of one process, or, on SQLite, of one thread")
    submitters, rounds = 4, 10
    answers: list[Inserted] = []
    ready = threading.Barrier(submitters)

    def submit() -> None:
        store = open_another()
        for number in range(rounds):
            ready.wait()
            answers.append(insert(store, unique(f"echo/{number}")))

    threads = [threading.Thread(target=submit) for _ in range(submitters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == submitters * rounds
    assert sum(answer.stored for answer in answers) == rounds == len({answer.job_ids[0] for answer in answers})


def test_the_job_of_a_fire_stays_that_when_something_else_replaces_it(store: Store) -> None:
    unique = Unique(until="begun", on_conflict="replace")
    fired = a_job(unique=unique, unique_key="echo/k", held_key="echo/k", schedule="s", fire_at=START, lane='["schedule:s"]')
    newer = a_job(unique=unique, unique_key="echo/k", held_key="echo/k", payload=b"2")
    store.insert([[fired]])

    store.insert([[newer]])

    [job] = store.find([fired.job_id])
    assert job is not None and (job.payload, job.schedule, job.fire_at, job.lane) == (b"2", "s", START, '["schedule:s"]')
