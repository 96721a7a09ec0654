"""What a scheduler answers in one tick when many requests wait."""

from __future__ import annotations

import pytest

from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.jobs.lifecycle import Verb
from jobyard.engine.scheduler.question_queue import ANSWER_S, MAX_HEAVY, QuestionQueue, is_heavy
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CancelJob, ChangeMany, CountMatching, Explain, Find, List, ListExecutions
from tests.support.network import FakePeer
from tests.support.world import FakeWorld

ID = "0" * 24
LIGHT = Find(job_id=ID)
HEAVY = List(wanted=JobFilter(text="x"), limit=100)


class Bench:
    """A queue of requests, each of which takes `takes_s` to answer."""

    def __init__(self, takes_s: float) -> None:
        self.world = FakeWorld()
        self.takes_s = takes_s
        self.answered: list[Message] = []
        self.refused: list[Message] = []
        self.queue = QuestionQueue(self.world, answer=self.answer, refuse=lambda envelope: self.refused.append(envelope.message))

    def answer(self, envelope: Envelope) -> None:
        self.world.advance(self.takes_s)
        self.answered.append(envelope.message)

    def take(self, message: Message, count: int = 1) -> FakePeer:
        peer = FakePeer()
        for _ in range(count):
            self.queue.take(peer.says(message))
        return peer


def test_requests_that_take_no_time_are_all_answered_at_once() -> None:
    bench = Bench(takes_s=0)
    bench.take(LIGHT, 100)
    bench.take(HEAVY, MAX_HEAVY)

    bench.queue.answer()

    assert bench.answered == [LIGHT] * 100 + [HEAVY] * MAX_HEAVY
    assert bench.queue.is_empty


def test_a_tick_answers_for_a_bounded_time_and_the_rest_waits() -> None:
    bench = Bench(takes_s=ANSWER_S / 5)
    bench.take(LIGHT, 12)

    bench.queue.answer()

    assert len(bench.answered) == 5
    assert not bench.queue.is_empty
    bench.queue.answer()
    bench.queue.answer()
    assert len(bench.answered) == 12


def test_a_heavy_request_does_not_wait_for_ever_behind_light_ones() -> None:
    bench = Bench(takes_s=ANSWER_S)
    bench.take(LIGHT, 10)
    bench.take(HEAVY, 2)

    bench.queue.answer()

    assert bench.answered == [LIGHT, HEAVY]


def test_slow_requests_are_answered_one_in_a_tick() -> None:
    bench = Bench(takes_s=10 * ANSWER_S)
    bench.take(HEAVY, 3)

    bench.queue.answer()

    assert len(bench.answered) == 1


def test_only_a_few_heavy_requests_wait() -> None:
    bench = Bench(takes_s=0)
    bench.take(HEAVY, MAX_HEAVY)

    bench.take(HEAVY, 2)
    bench.take(LIGHT, 100)

    assert bench.refused == [HEAVY] * 2
    bench.queue.answer()
    bench.take(HEAVY)
    assert len(bench.refused) == 2


def test_the_requests_of_a_sender_that_has_gone_are_dropped() -> None:
    bench = Bench(takes_s=0)
    gone = bench.take(HEAVY, 2)
    bench.take(LIGHT)
    bench.take(CancelJob(job_id=ID))
    bench.queue.take(gone.says(LIGHT))

    bench.queue.drop(gone)
    bench.queue.answer()

    assert bench.answered == [LIGHT, CancelJob(job_id=ID)]


@pytest.mark.parametrize(
    ("message", "heavy"),
    [
        (LIGHT, False), (ListExecutions(job_id=ID), False), (CancelJob(job_id=ID), False), (List(), False),
        (List(wanted=JobFilter(status=Status.FAILED), limit=1), False), (HEAVY, True),
        (List(wanted=JobFilter(status=Status.FAILED, task="mail"), limit=1), True),
        (CountMatching(wanted=JobFilter(task="x")), True),
        (CountMatching(wanted=JobFilter(status=Status.FAILED)), False),
        (ChangeMany(verb=Verb.RETRY, body=b"{}"), True), (Explain(job_id=ID, report=None), True),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_an_index_does_not_find_alone_is_heavy(message: Message, heavy: bool) -> None:
    assert is_heavy(message) is heavy
