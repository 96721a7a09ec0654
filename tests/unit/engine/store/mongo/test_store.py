"""What only MongoDB's adapter must bear: lost replies, writers that die half-way, counters that drift, claimers that meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import mongomock
import msgspec
import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, ServerSelectionTimeoutError

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Output, Status, Unique
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.mongo.insert import STALE
from jobyard.engine.store.mongo.store import MongoStore
from jobyard.engine.store.port import Abandoned, HostHeartbeat, Inserted
from tests.support.builders import a_job
from tests.support.claims import WATCHER, WORKER, AllAt, InTurn, claim
from tests.support.mongo import open_mock
from tests.support.world import START

OTHER_WORKER = "box:b00t:worker-7002:1"
LATER = START + STALE + timedelta(seconds=1)
DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
FAILED = Outcome(status=ExecutionStatus.FAILED, error="no")


class Lossy:
    """A collection whose next call of a method fails: before anything happened, or after, so that only its reply is lost."""

    def __init__(self, collection: object) -> None:
        self._collection = collection
        self._faults: dict[str, list[tuple[bool, Exception]]] = {}

    def lose_reply(self, method: str) -> None:
        self._faults.setdefault(method, []).append((True, AutoReconnect("connection closed")))

    def confirm_too_late(self, method: str) -> None:
        """It was written, but no majority said so in time; several writes at once are told so by an error of their own."""
        late = {"code": 64, "errmsg": "waiting for replication timed out"}
        self._faults.setdefault(method, []).append((True, BulkWriteError({"writeErrors": [], "writeConcernErrors": [late]})))

    def be_away(self, method: str) -> None:
        self._faults.setdefault(method, []).append((False, ServerSelectionTimeoutError("nobody there")))

    def expected(self, method: str) -> int:
        """How many faults are still to come."""
        return len(self._faults.get(method, []))

    def __getattr__(self, name: str) -> object:
        method = getattr(self._collection, name)
        if not self._faults.get(name):
            return method

        def failing(*words: object, **more: object) -> object:
            happens, fault = self._faults[name].pop(0)
            if happens:
                method(*words, **more)
            raise fault

        return failing


class Bench:
    """A database, and one store on it whose calls can be made to fail."""

    def __init__(self) -> None:
        self.client = mongomock.MongoClient()
        self.store = self.another()
        server = self.store._server
        self.jobs, self.batches, self.counts = Lossy(server.jobs), Lossy(server.batches), Lossy(server.counts)
        server.jobs, server.batches, server.counts = self.jobs, self.batches, self.counts  # type: ignore[assignment]

    def another(self, **options: object) -> MongoStore:
        return open_mock(self.client, **options)

    def put(self, *jobs: Job) -> list[Job]:
        self.another().insert([list(jobs)])
        return list(jobs)

    def running(self, **fields: object) -> Job:
        (job,) = self.put(a_job(**fields))
        (begun,) = claim(self.store)
        assert begun.job_id == job.job_id
        return begun

    def found(self, job: Job) -> Job:
        (stored,) = self.store.find([job.job_id])
        assert stored is not None
        return stored

    def settled(self, job: Job, outcome: Outcome) -> list[bool]:
        return self.store.apply([lifecycle.settle(job, outcome, now=START, retry_base_s=0)])

    def check_counts(self) -> None:
        listed = Counter(job.status for job in self.store.list_jobs(JobFilter(), limit=1000).jobs)
        assert self.store.counts() == {status: listed[status] for status in Status}


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---- hosts


def test_hosts_are_confirmed_by_a_write_that_only_the_real_primary_can_make(bench: Bench) -> None:
    bench.store.renew(HostHeartbeat(boot="b00t", host="box", renewal=0, seen_at=START))
    barrier = bench.store._server.barrier = Lossy(bench.store._server.barrier)  # type: ignore[assignment]
    barrier.be_away("update_one")

    assert [host.boot for host in bench.store.hosts()] == ["b00t"]
    with pytest.raises(StoreUnavailable):
        bench.store.hosts(confirmed=True)

    assert [host.boot for host in bench.store.hosts(confirmed=True)] == ["b00t"]


# ---- claims


def test_a_claim_whose_reply_was_lost_is_answered_by_the_next(bench: Bench) -> None:
    jobs = bench.put(a_job(), a_job(), a_job())
    bench.jobs.lose_reply("update_many")

    with pytest.raises(StoreUnavailable):
        claim(bench.store)
    begun = claim(bench.store)

    assert [job.job_id for job in begun] == [job.job_id for job in jobs]
    assert all((job.status, job.attempt, job.locked_by) == (Status.RUNNING, 1, WORKER) for job in begun)
    assert claim(bench.store) == []
    bench.check_counts()


def test_a_claim_of_one_whose_reply_was_lost_is_answered_by_the_next(bench: Bench) -> None:
    (job,) = bench.put(a_job())
    bench.jobs.lose_reply("find_one_and_update")

    with pytest.raises(StoreUnavailable):
        claim(bench.store)

    (begun,) = claim(bench.store)
    assert (begun.job_id, begun.epoch) == (job.job_id, 2)
    bench.check_counts()


def test_a_claim_stands_although_the_keys_that_it_gives_up_cannot_be_written(bench: Bench) -> None:
    unique = Unique(until="begun")
    (job,) = bench.put(a_job(unique_key="k", held_key="k", unique=unique))
    bench.jobs.be_away("update_many")

    (begun,) = claim(bench.store)

    assert (begun.job_id, begun.held_key) == (job.job_id, None)


def test_a_claim_that_was_never_made_is_made_by_the_next(bench: Bench) -> None:
    bench.put(a_job(), a_job())
    bench.jobs.be_away("update_many")

    with pytest.raises(StoreUnavailable):
        claim(bench.store)

    assert len(claim(bench.store)) == 2


def test_a_lost_claim_that_was_taken_back_meanwhile_is_not_answered(bench: Bench) -> None:
    first, second = bench.put(a_job(), a_job())
    bench.jobs.lose_reply("update_many")
    with pytest.raises(StoreUnavailable):
        claim(bench.store)
    bench.another().apply([lifecycle.recover(bench.found(first), now=START, max_lost=5)])

    begun = claim(bench.store)

    assert [job.job_id for job in begun] == [second.job_id]


class Meeting(Lossy):
    """Somebody else claims just before we do."""

    def __init__(self, collection: object, other: MongoStore, most: int) -> None:
        super().__init__(collection)
        self._other, self._most = other, most

    def __getattr__(self, name: str) -> object:
        if name == "update_many" and self._most:
            most, self._most = self._most, 0
            claim(self._other, owner="box:b00t:watcher-9002:1", most=most)
        return super().__getattr__(name)


def test_who_loses_some_documents_keeps_the_others_and_counts_conflicts(bench: Bench) -> None:
    bench.put(*(a_job() for _ in range(5)))
    bench.store._server.jobs = Meeting(bench.jobs, bench.another(), 2)  # type: ignore[assignment]

    claimed = bench.store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt())

    assert (len(claimed.jobs), claimed.conflicts) == (3, 2)
    bench.check_counts()


def test_a_claim_for_several_workers_whose_reply_was_lost_half_way_is_answered_as_far_as_it_came(bench: Bench) -> None:
    first, second = bench.put(a_job(), a_job())
    bench.jobs.lose_reply("update_many")

    with pytest.raises(StoreUnavailable):
        bench.store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=InTurn(WORKER, OTHER_WORKER))
    answered = claim(bench.store)
    rest = claim(bench.store)

    assert {job.job_id for job in [*answered, *rest]} == {first.job_id, second.job_id}
    assert (len(answered), len(rest)) == (1, 1)
    bench.check_counts()


def test_many_candidates_are_shared_out_among_the_claimers_of_a_host(bench: Bench) -> None:
    jobs = bench.put(*(a_job() for _ in range(120)))
    shares = [{job.job_id for job in claim(bench.another(place=(number, 3)), most=100)} for number in range(2)]

    assert [len(share) for share in shares] == [40, len(shares[1])]
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] <= {job.job_id for job in jobs}


def test_few_candidates_are_all_taken_by_whoever_looks(bench: Bench) -> None:
    bench.put(*(a_job() for _ in range(6)))

    assert len(claim(bench.another(place=(1, 3)))) == 6


class Between(Lossy):
    """Somebody else does something just before a method's next call, or just after it."""

    def __init__(self, collection: object, method: str, do: Callable[[], object], *, after: bool = False) -> None:
        super().__init__(collection)
        self._method, self._do, self._is_after = method, [do], after

    def __getattr__(self, name: str) -> object:
        method = super().__getattr__(name)
        if name != self._method or not self._do:
            return method

        def both(*words: object, **more: object) -> object:
            do = self._do.pop()
            if not self._is_after:
                do()
            done = method(*words, **more)  # type: ignore[operator]
            if self._is_after:
                do()
            return done

        return both


@pytest.mark.parametrize("count", [1, 2])
def test_a_job_that_must_wait_for_its_retry_since_it_was_seen_is_not_claimed(bench: Bench, count: int) -> None:
    jobs = bench.put(*(a_job() for _ in range(count)))
    other = bench.another()

    def fail_first() -> None:
        claim(other, most=1)
        other.apply([lifecycle.settle(bench.found(jobs[0]), FAILED, now=START, retry_base_s=10)])

    method = "find_one_and_update" if count == 1 else "update_many"
    bench.store._server.jobs = Between(bench.jobs, method, fail_first)  # type: ignore[assignment]

    begun = claim(bench.store)

    assert [job.job_id for job in begun] == [job.job_id for job in jobs[1:]]
    assert bench.found(jobs[0]).status is Status.PENDING


def test_a_job_that_is_returned_while_its_claim_is_read_is_counted_where_it_is(bench: Bench) -> None:
    jobs = bench.put(a_job(), a_job(), a_job())

    def return_first() -> None:
        bench.another().apply([lifecycle.return_unstarted(bench.found(jobs[0]), now=START)])

    bench.store._server.jobs = Between(bench.jobs, "update_many", return_first, after=True)  # type: ignore[assignment]

    begun = claim(bench.store)

    assert [job.job_id for job in begun] == [job.job_id for job in jobs[1:]]
    bench.check_counts()


# ---- insert


def test_a_lost_reply_of_an_insert_is_told_as_unknown_and_cleared_by_the_same_again(bench: Bench) -> None:
    job = a_job()
    bench.jobs.lose_reply("insert_many")

    with pytest.raises(StoreUnavailable) as told:
        bench.store.insert([[job]])

    assert told.value.may_be_stored
    assert bench.store.insert([[job]]) == [Inserted(job_ids=[job.job_id])]
    assert len(bench.store.list_jobs(JobFilter(), limit=10).jobs) == 1


def test_an_insert_that_was_never_sent_is_told_as_not_stored(bench: Bench) -> None:
    bench.jobs.be_away("insert_many")

    with pytest.raises(StoreUnavailable) as told:
        bench.store.insert([[a_job()]])

    assert not told.value.may_be_stored


def test_nothing_of_a_request_is_seen_before_its_record_stands(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.batches.be_away("insert_many")

    with pytest.raises(StoreUnavailable):
        bench.store.insert([jobs])

    assert bench.store.find([job.job_id for job in jobs]) == [None, None]
    assert bench.store.list_jobs(JobFilter(task="echo"), limit=10).jobs == []
    assert claim(bench.store) == []
    assert bench.store.counts()[Status.PENDING] == 0


def test_what_a_dead_writer_had_staged_is_undone_after_a_while(bench: Bench) -> None:
    jobs = [a_job(idempotency_key="k", request_digest=b"1"), a_job()]
    bench.batches.be_away("insert_many")
    with pytest.raises(StoreUnavailable):
        bench.store.insert([jobs])
    other = bench.another()

    other.mend(now=START, thorough=False)
    other.mend(now=LATER - timedelta(seconds=2), thorough=False)
    still_there = bench.jobs.count_documents({})  # type: ignore[operator]
    other.mend(now=LATER, thorough=False)

    assert (still_there, bench.jobs.count_documents({})) == (2, 0)  # type: ignore[operator]
    assert other.insert([[a_job(idempotency_key="k", request_digest=b"2")]])[0] != Abandoned()


def test_what_was_undone_cannot_be_stored_by_its_slow_writer_any_more(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.batches.be_away("insert_many")
    with pytest.raises(StoreUnavailable):
        bench.store.insert([jobs])
    undoing = bench.another()
    for now in (START, LATER):
        undoing.mend(now=now, thorough=False)

    assert bench.store.insert([jobs]) == [Abandoned()]

    assert bench.store.find([job.job_id for job in jobs]) == [None, None]


def test_what_a_dead_writer_had_stored_is_finished_at_once(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.jobs.be_away("update_many")

    answers = bench.store.insert([jobs])
    bench.another().mend(now=START, thorough=False)

    assert answers == [Inserted(job_ids=[job.job_id for job in jobs])]
    assert [job.status for job in map(bench.found, jobs)] == [Status.PENDING] * 2
    assert bench.batches.count_documents({}) == 0  # type: ignore[operator]
    bench.check_counts()


def test_a_stored_request_that_its_writer_could_not_finish_is_finished_by_whoever_looks_for_one_of_its_jobs(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.jobs.be_away("update_many")
    answers = bench.store.insert([jobs])
    other = bench.another()

    assert other.ended([jobs[0].job_id]) == []
    found = other.find([jobs[1].job_id, "f" * 24])

    assert answers == [Inserted(job_ids=[job.job_id for job in jobs])]
    assert [job and job.status for job in found] == [Status.PENDING, None]
    assert [job.status for job in map(bench.found, jobs)] == [Status.PENDING] * 2
    bench.check_counts()


def test_a_stored_request_that_its_writer_could_not_finish_is_in_its_writers_next_list_and_count(bench: Bench) -> None:
    bench.jobs.be_away("update_many")
    bench.store.insert([[a_job(), a_job()]])

    assert len(bench.store.list_jobs(JobFilter(task="echo"), limit=10).jobs) == 2
    bench.jobs.be_away("update_many")
    bench.store.insert([[a_job(), a_job()]])
    assert bench.store.count_jobs(JobFilter(task="echo")).count == 4
    bench.check_counts()


def test_jobs_of_a_request_that_is_not_stored_yet_are_not_there_but_have_not_ended(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.batches.be_away("insert_many")
    with pytest.raises(StoreUnavailable):
        bench.store.insert([jobs])
    ids = [job.job_id for job in jobs]

    assert bench.store.find(ids) == [None, None]
    assert bench.store.ended(ids) == []


def an_output(job: Job) -> Change:
    change = lifecycle.settle(job, DONE, now=START, retry_base_s=0)
    return msgspec.structs.replace(change, output=Output(job_id=job.job_id, attempt=job.attempt, text="words"))


def test_the_output_of_an_attempt_is_there_before_its_end(bench: Bench) -> None:
    job = bench.running()
    bench.jobs.be_away("bulk_write")

    with pytest.raises(StoreUnavailable):
        bench.store.apply([an_output(job)])

    assert [output.text for output in bench.store.outputs(job.job_id)] == ["words"]
    assert bench.found(job).status is Status.RUNNING


def test_an_output_stays_when_only_the_reply_to_the_end_of_its_attempt_was_lost(bench: Bench) -> None:
    job = bench.running()
    bench.jobs.lose_reply("bulk_write")
    with pytest.raises(StoreUnavailable):
        bench.store.apply([an_output(job)])

    assert bench.store.apply([an_output(job)]) == [False]

    assert [output.text for output in bench.store.outputs(job.job_id)] == ["words"]


def test_a_request_come_again_through_another_scheduler_is_stored_once(bench: Bench) -> None:
    jobs = [a_job(), a_job()]
    bench.jobs.be_away("update_many")
    bench.store.insert([jobs])

    assert bench.another().insert([jobs]) == [Inserted(job_ids=[job.job_id for job in jobs])]
    assert bench.store.insert([jobs]) == [Inserted(job_ids=[job.job_id for job in jobs])]

    assert len(bench.store.list_jobs(JobFilter(), limit=10).jobs) == 2
    bench.check_counts()


def test_a_key_of_a_request_that_is_neither_stored_nor_undone_is_answered_by_nobody_yet(bench: Bench) -> None:
    bench.batches.be_away("insert_many")
    with pytest.raises(StoreUnavailable):
        bench.store.insert([[a_job(idempotency_key="k", request_digest=b"1"), a_job()]])

    assert bench.another().insert([[a_job(idempotency_key="k", request_digest=b"1")]]) == [Abandoned()]


class Racing(Lossy):
    """Somebody else takes a key between our look and our write."""

    def __init__(self, collection: object, other: MongoStore, job: Job) -> None:
        super().__init__(collection)
        self._other, self._job = other, [job]

    def __getattr__(self, name: str) -> object:
        if name == "insert_many" and self._job:
            self._other.insert([[self._job.pop()]])
        return super().__getattr__(name)


def test_who_loses_the_race_for_a_key_is_answered_with_the_winner(bench: Bench) -> None:
    winner, loser = (a_job(idempotency_key="k", request_digest=b"same") for _ in range(2))
    bench.store._server.jobs = Racing(bench.jobs, bench.another(), winner)  # type: ignore[assignment]

    assert bench.store.insert([[loser]]) == [Inserted(job_ids=[winner.job_id], repeated=1)]


def test_a_key_in_a_request_that_is_given_up_is_nobodys(bench: Bench) -> None:
    first, second = (a_job(idempotency_key="k", request_digest=b"same") for _ in range(2))

    answers = bench.store.insert([[first], [second]], abandoned=lambda number: number == 0)

    assert answers == [Abandoned(), Inserted(job_ids=[second.job_id])]
    assert bench.found(second).status is Status.PENDING


def test_what_somebody_else_finished_before_us_is_stored(bench: Bench) -> None:
    class Hasty(Lossy):
        """Somebody mends as soon as our record stands."""

        def insert_many(self, *words: object, **more: object) -> object:
            done = self._collection.insert_many(*words, **more)  # type: ignore[attr-defined]
            other.mend(now=START, thorough=False)
            return done

    other = bench.another()
    bench.store._server.batches = Hasty(bench.batches)  # type: ignore[assignment]
    jobs = [a_job(), a_job()]

    assert bench.store.insert([jobs]) == [Inserted(job_ids=[job.job_id for job in jobs])]

    assert [bench.found(job).status for job in jobs] == [Status.PENDING] * 2


def test_after_something_of_a_call_was_stored_no_fault_says_that_nothing_was(bench: Bench) -> None:
    bench.batches.be_away("insert_many")

    with pytest.raises(StoreUnavailable) as told:
        bench.store.insert([[a_job()], [a_job(), a_job()]])

    assert told.value.may_be_stored


def test_changes_that_no_majority_confirmed_in_time_are_as_uncertain_as_a_lost_reply(bench: Bench) -> None:
    job = bench.running()
    bench.jobs.confirm_too_late("bulk_write")

    with pytest.raises(StoreUnavailable) as told:
        bench.settled(job, DONE)
    rested(bench.store)

    assert told.value.may_be_stored
    assert "timed out" in told.value.message
    assert bench.store._server.barrier.count_documents({}) == 1
    bench.check_counts()


def test_an_insert_that_no_majority_confirmed_in_time_is_counted(bench: Bench) -> None:
    rested(bench.store)
    bench.jobs.confirm_too_late("insert_many")

    with pytest.raises(StoreUnavailable) as told:
        bench.store.insert([[a_job()]])
    rested(bench.store)

    assert told.value.may_be_stored
    bench.check_counts()


def test_a_majority_write_goes_before_whatever_follows_a_lost_reply(bench: Bench) -> None:
    bench.put(a_job(), a_job())
    bench.jobs.lose_reply("update_many")
    with pytest.raises(StoreUnavailable):
        claim(bench.store)

    bench.store.ping()

    assert bench.store._server.barrier.count_documents({}) == 1


# ---- changes


def test_a_partly_refused_batch_of_changes_says_which(bench: Bench) -> None:
    jobs = [bench.running() for _ in range(4)]
    bench.another().apply([lifecycle.recover(jobs[1], now=START, max_lost=5)])

    done = bench.store.apply([lifecycle.settle(job, DONE, now=START, retry_base_s=0) for job in jobs])

    assert done == [True, False, True, True]
    bench.check_counts()


def test_a_settle_whose_reply_was_lost_stands_with_its_row(bench: Bench) -> None:
    job = bench.running()
    bench.jobs.lose_reply("bulk_write")

    with pytest.raises(StoreUnavailable):
        bench.settled(job, DONE)

    assert bench.found(job).status is Status.COMPLETED
    assert [row.status for row in bench.store.executions(job.job_id)] == [ExecutionStatus.SUCCESS]
    assert bench.settled(job, DONE) == [False]


def test_the_row_of_an_attempt_survives_the_next_attempt(bench: Bench) -> None:
    job = bench.running(max_retries=3)
    bench.store._server.executions = Lossy(bench.store._server.executions)  # type: ignore[assignment]
    bench.store._server.executions.be_away("bulk_write")  # type: ignore[attr-defined]
    bench.settled(job, FAILED)

    (job,) = claim(bench.store)

    rows = [(row.attempt, row.status) for row in bench.store.executions(job.job_id)]
    assert rows == [(1, ExecutionStatus.FAILED), (2, ExecutionStatus.RUNNING)]


def test_who_applies_changes_does_not_wait_twice_for_a_database_that_went_away(bench: Bench) -> None:
    job = bench.running()
    rows = Lossy(bench.store._server.executions)
    bench.store._server.executions = rows  # type: ignore[assignment]
    bench.counts.be_away("find_one_and_update")
    rows.be_away("bulk_write")

    done = bench.settled(job, DONE)
    rested(bench.store)

    assert done == [True]
    assert rows.expected("bulk_write") == 1
    assert [row.status for row in bench.store.executions(job.job_id)] == [ExecutionStatus.SUCCESS]
    bench.check_counts()


def test_a_change_that_somebody_moved_on_before_it_was_read_back_leaves_the_counters_right(bench: Bench) -> None:
    jobs = [bench.running(), bench.running()]
    other = bench.another()
    other.apply([lifecycle.settle(jobs[0], DONE, now=START, retry_base_s=0)])
    rested(bench.store)
    bench.store._server.jobs = Between(bench.jobs, "bulk_write", lambda: claim(other), after=True)  # type: ignore[assignment]

    done = bench.store.apply([lifecycle.recover(job, now=START, max_lost=5) for job in jobs])
    rested(bench.store)

    assert done == [False, False]
    assert bench.found(jobs[1]).status is Status.RUNNING
    bench.check_counts()


# ---- counters


def rested(store: MongoStore) -> MongoStore:
    """Its counters are checked and right."""
    for _ in range(4):
        store.mend(now=START, thorough=False)
    return store


@pytest.mark.parametrize("method", ["be_away", "lose_reply"])
def test_counters_that_could_not_be_moved_are_counted_anew_by_whoever_looks(bench: Bench, method: str) -> None:
    watching = rested(bench.another())
    rested(bench.store)
    getattr(bench.counts, method)("find_one_and_update")
    bench.store.insert([[a_job()]])
    bench.store.insert([[a_job()]])

    rested(watching)

    bench.check_counts()


def test_counters_behind_a_lost_reply_are_counted_anew_by_whoever_looks(bench: Bench) -> None:
    watching = rested(bench.another())
    bench.jobs.lose_reply("insert_many")
    with pytest.raises(StoreUnavailable):
        bench.store.insert([[a_job()]])
    bench.store.insert([[a_job()]])

    rested(watching)

    bench.check_counts()


def test_counters_that_nobody_doubts_are_not_counted(bench: Bench) -> None:
    rested(bench.store)
    looks = []
    count = bench.store._server.jobs.count_documents
    bench.store._server.jobs.count_documents = lambda *words, **more: looks.append(words) or count(*words, **more)  # type: ignore[attr-defined,method-assign]

    rested(bench.store)
    bench.store.mend(now=START, thorough=True)

    assert len(looks) == len(Status)


def test_counters_are_counted_anew_after_another_server_took_over(bench: Bench) -> None:
    primaries: list[object] = ["one", None, "two"]
    server = bench.store._server
    server.primary = lambda: primaries[0]
    rested(bench.store)
    bench.put(a_job())
    server.counts.update_one({"_id": "jobs"}, {"$inc": {"pending": -1, "version": 1}})  # what the new one never heard of

    before = rested(bench.store).counts()[Status.PENDING]
    for _ in range(2):
        primaries.pop(0)
        rested(bench.store)

    assert before == 0
    bench.check_counts()


def test_counters_that_a_dead_process_left_wrong_are_made_good_by_two_equal_looks(bench: Bench) -> None:
    bench.put(*(a_job() for _ in range(3)))
    bench.store._server.counts.update_one({"_id": "jobs"}, {"$inc": {"pending": -2, "running": 7, "version": 1}})

    bench.store.mend(now=START, thorough=True)
    after_one = bench.store.counts()[Status.RUNNING]
    bench.store.mend(now=START, thorough=True)

    assert after_one == 7
    bench.check_counts()


def test_a_database_whose_counters_are_lost_is_counted_anew(bench: Bench) -> None:
    bench.put(a_job(), a_job())
    bench.store._server.counts.delete_many({})

    rested(bench.another())

    bench.check_counts()


# ---- removal


def test_a_removal_that_was_cut_short_is_finished_by_the_next(bench: Bench) -> None:
    job = bench.running()
    bench.settled(job, DONE)
    bench.jobs.be_away("delete_many")
    with pytest.raises(StoreUnavailable):
        bench.store.purge(before=LATER, limit=10)

    hidden = bench.store.find([job.job_id])
    bench.store.purge(before=LATER, limit=10)

    assert hidden == [None]
    assert (bench.jobs.count_documents({}), bench.store.executions(job.job_id)) == (0, [])  # type: ignore[operator]
    bench.check_counts()


# ---- hosts


def test_a_hosts_renewal_rises_with_each_sign(bench: Bench) -> None:
    served = {"tasks": b'{"echo": {}}', "queues": ("mail", "slow"), "schedules": ("nightly",)}
    sign = HostHeartbeat(boot="b00t", host="box", renewal=0, seen_at=START, **served)  # type: ignore[arg-type]

    for _ in range(3):
        bench.store.renew(sign)

    (seen,) = bench.another().hosts()
    assert seen == msgspec.structs.replace(sign, renewal=3)


def test_only_a_host_that_gave_no_new_sign_is_forgotten(bench: Bench) -> None:
    bench.store.renew(HostHeartbeat(boot="b00t", host="box", renewal=0, seen_at=START))

    bench.store.forget_host("b00t", renewal=0)
    kept = len(bench.store.hosts())
    bench.store.forget_host("b00t", renewal=1)

    assert (kept, bench.store.hosts()) == (1, [])


def test_a_busy_claimer_does_not_ask_for_lanes_each_time_and_finds_what_is_in_them_before_it_sleeps(bench: Bench) -> None:
    asked: list[bool] = []
    lanes = bench.store._claims._lanes
    were_empty = lanes.were_empty
    lanes.were_empty = lambda now: asked.append(were_empty(now)) or asked[-1]  # type: ignore[method-assign,func-returns-value]
    for _ in range(3):
        bench.put(a_job())
        claim(bench.store, most=5)
    assert asked == [False, True, True]

    (in_lane,) = bench.put(a_job(lane='["schedule:a"]'))
    assert bench.store.next_due() == in_lane.scheduled_at
    assert in_lane.job_id in [job.job_id for job in claim(bench.store)]
