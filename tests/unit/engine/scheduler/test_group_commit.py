"""What comes too late or when there is no room, and whether it may be said that nothing of it is stored."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from jobyard.engine.config import read_settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.submission import Defaults, TaskDefaults
from jobyard.engine.logs import Log
from jobyard.engine.scheduler.group_commit import GroupCommit
from jobyard.engine.store.port import Insertion
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Refused, Submit
from jobyard.engine.world import later_id
from tests.support.builders import a_log
from tests.support.memory_store import MemoryStore
from tests.support.network import FakePeer
from tests.support.world import FakeWorld

DEFAULTS = Defaults(max_retries=5, timeout_s=60, tasks={"echo": TaskDefaults()})


class Desk:
    """An acceptance on a store, and what it says."""

    def __init__(self, store: MemoryStore | SqliteStore | None = None, *, log: Log | None = None, **asked: str) -> None:
        self.world = FakeWorld()
        self.store = store or MemoryStore()
        self.woken: list[Job] = []
        self.group_commit = GroupCommit(
            settings=read_settings(asked), world=self.world, store=self.store, defaults=lambda: DEFAULTS,
            wake=lambda dues, resolves: self.woken.extend(dues),
            our_fault=lambda bug, request_id: Refused(code="internal_error", message=f"{request_id} {bug!r}"), log=log or a_log(),
        )  # fmt: skip

    def submit(self, body: object, *, form: str = "job", waits_s: float = 5, is_again: bool = False) -> Submit:
        first_id = self.world.reserve_ids(1 if form == "job" else 10)
        deadline = self.world.monotonic() + waits_s
        return Submit(form=form, body=json.dumps(body).encode(), first_id=first_id, deadline=deadline, is_again=is_again)

    def ask(self, *submits: Submit) -> list[Message]:
        """All in one turn; the answers in the same order."""
        peers = [FakePeer() for _ in submits]
        for peer, submit in zip(peers, submits, strict=True):
            self.group_commit.take(peer, submit)
        self.group_commit.commit()
        return [answer for peer in peers for answer in peer.received]

    def ask_again(self, submit: Submit) -> Message:
        (answer,) = self.ask(msgspec.structs.replace(submit, is_again=True))
        return answer


def accepted(submit: Submit, count: int = 1, **more: int) -> Accepted:
    return Accepted(job_ids=[later_id(submit.first_id, index) for index in range(count)], **more)


def test_what_comes_again_too_late_and_is_stored_is_accepted() -> None:
    desk = Desk()
    submit = desk.submit({"payload": 1}, waits_s=1)
    desk.ask(submit)
    desk.world.advance(2)

    assert desk.ask_again(submit) == accepted(submit)


def test_what_comes_again_too_late_and_is_not_stored_will_never_be() -> None:
    desk = Desk()
    submit = desk.submit({}, waits_s=1)
    desk.world.advance(2)

    assert desk.ask_again(submit) == Expired()
    assert desk.store.find([submit.first_id]) == [None]


def test_what_comes_again_when_there_is_no_room_and_is_stored_is_accepted() -> None:
    desk = Desk(MAX_PENDING="1")
    submit = desk.submit({})
    desk.ask(submit)

    again, other = desk.ask(msgspec.structs.replace(submit, is_again=True), desk.submit({}))

    assert again == accepted(submit)
    assert isinstance(other, Refused) and other.code == "overloaded"


def test_without_room_what_comes_again_is_not_stored_either() -> None:
    desk = Desk(MAX_PENDING="1")
    desk.ask(desk.submit({}))
    submit = desk.submit({})

    answer = desk.ask_again(submit)

    assert isinstance(answer, Refused) and answer.code == "overloaded"
    assert desk.store.find([submit.first_id]) == [None]


def test_without_room_too_late_is_the_word_as_it_is_the_last() -> None:
    desk = Desk(MAX_PENDING="1")
    desk.ask(desk.submit({}))
    submit = desk.submit({}, waits_s=1)
    desk.world.advance(2)

    assert desk.ask_again(submit) == Expired()


def test_a_batch_that_stands_is_told_with_all_its_ids_and_those_of_its_keys() -> None:
    desk = Desk()
    first = desk.submit({"payload": 1, "idempotency_key": "k"})
    desk.ask(first)
    batch = desk.submit({"jobs": [{}, {"payload": 1, "idempotency_key": "k"}, {}]}, form="batch", waits_s=1)
    told = desk.ask(batch)
    desk.world.advance(2)

    assert [desk.ask_again(batch)] == told
    assert told == [Accepted(job_ids=[batch.first_id, first.first_id, later_id(batch.first_id, 2)], repeated=1)]


def test_a_batch_that_stands_but_for_a_job_that_was_purged_is_not_stored_anew() -> None:
    desk = Desk()
    batch = desk.submit({"jobs": [{}, {}]}, form="batch", waits_s=1)
    desk.ask(batch)
    assert isinstance(desk.store, MemoryStore)
    del desk.store._jobs[batch.first_id]
    desk.world.advance(2)

    assert desk.ask_again(batch) == accepted(batch, 2)
    assert desk.store.find([batch.first_id]) == [None]


def test_a_request_whose_key_is_stored_is_answered_though_too_much_is_pending() -> None:
    desk = Desk(MAX_PENDING="1")
    first = desk.submit({"payload": 1, "idempotency_key": "k"})
    desk.ask(first)
    desk.world.advance(2)

    again, other, new = desk.ask(
        desk.submit({"payload": 1, "idempotency_key": "k"}), desk.submit({"idempotency_key": "other"}), desk.submit({})
    )

    assert again == Accepted(job_ids=[first.first_id], repeated=1)
    assert [(one.code, one.retry_after_s) for one in (other, new) if isinstance(one, Refused)] == [("overloaded", 5)] * 2


def test_an_empty_batch_and_one_of_known_jobs_need_no_room() -> None:
    desk = Desk(MAX_PENDING="1")
    first = desk.submit({"payload": 1, "idempotency_key": "k"})
    desk.ask(first)
    desk.world.advance(2)
    known = {"payload": 1, "idempotency_key": "k"}

    empty, of_known, of_both, in_conflict = desk.ask(
        desk.submit({"jobs": []}, form="batch"), desk.submit({"jobs": [known, known]}, form="batch"),
        desk.submit({"jobs": [known, {}]}, form="batch"), desk.submit({"payload": 2, "idempotency_key": "k"}),
    )  # fmt: skip

    assert empty == Accepted(job_ids=[])
    assert of_known == Accepted(job_ids=[first.first_id] * 2, repeated=2)
    assert isinstance(of_both, Refused) and of_both.code == "overloaded"
    assert isinstance(in_conflict, Refused) and in_conflict.code == "idempotency_conflict"


class CannotRead(MemoryStore):
    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        raise StoreUnavailable("away")


def test_what_cannot_be_looked_up_is_no_word() -> None:
    desk = Desk(CannotRead())
    submit = desk.submit({}, waits_s=1)
    desk.world.advance(2)

    answer = desk.ask_again(submit)

    assert isinstance(answer, Refused) and answer.code == "database_unavailable"


class HalfDone(MemoryStore):
    """Leaves everything out without asking, as MongoDB's does with what somebody else has half done."""

    def insert(self, requests: Sequence[Sequence[Job]], **more: object) -> list[Insertion]:
        return super().insert(requests, abandoned=lambda number: True)


def test_what_somebody_else_has_half_done_is_to_be_asked_again() -> None:
    desk = Desk(HalfDone())

    (answer,) = desk.ask(desk.submit({}))

    assert isinstance(answer, Refused) and (answer.code, answer.retry_after_s) == ("unavailable", 1)


def test_nobody_is_told_that_it_begins_when_it_does_not() -> None:
    desk = Desk(MONGO_URI="mongodb://somewhere")
    late, in_time = desk.submit({}, waits_s=1, is_again=True), desk.submit({}, waits_s=5)
    desk.world.advance(2)

    assert desk.ask(late, in_time) == [Expired(), Begun(), accepted(in_time)]


def test_one_turn_wakes_the_watchers_for_what_is_new_only() -> None:
    desk = Desk()
    submit = desk.submit({}, waits_s=1)
    desk.ask(submit)
    desk.woken.clear()
    desk.world.advance(2)

    desk.ask_again(submit)

    assert desk.woken == []


def test_too_late_is_decided_behind_the_lock_so_that_whoever_was_in_time_has_committed(tmp_path: Path) -> None:
    """The late one waits for the lock while another scheduler, in time, commits."""
    path = tmp_path / "jobs.sqlite"
    prepare_file(path)
    early = Desk(SqliteStore(path, durable=True, waiting=lambda waits: None))
    held = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    told: list[Message] = []

    def meanwhile(waits: bool) -> None:
        if waits and not told:  # the first wait is that for the lock; the store tells of others
            os.close(held)
            told.extend(early.ask(submit))
            late.world.advance(2)

    late = Desk(SqliteStore(path, durable=True, waiting=meanwhile))
    submit = late.submit({}, waits_s=1)

    assert late.ask_again(submit) == accepted(submit)
    assert told == [accepted(submit)]
    early.store.close()
    late.store.close()


def test_at_debug_the_log_says_which_jobs_a_request_has_caused(tmp_path: Path) -> None:
    desk = Desk(log=Log(FakeWorld(), level="debug", fd=os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)))
    submit = msgspec.structs.replace(desk.submit({"jobs": [{}, {}]}, form="batch"), request_id="abc")

    desk.ask(submit)

    told = f"jobs_accepted request_id=abc job_id={submit.first_id} jobs=2 repeated=0 by=api"
    assert (tmp_path / "log").read_text().strip().endswith(told)
