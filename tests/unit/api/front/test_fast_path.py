"""Fast path: submissions of one tick share a frame, each gets its own reply; anything out of the ordinary goes to a thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO

import pytest

from jobyard.api.front.affinity import AFFINITY_S, Affinity
from jobyard.api.front.delivery import RECHECK_S
from jobyard.api.front.fast_path import MAX_IN_FLIGHT, FastPath, FastRoute
from jobyard.api.http.body import Environ
from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.reply import Reply
from jobyard.api.http.request_metrics import RequestMetrics
from jobyard.api.views.jobs import Jobs
from jobyard.engine.config import read_settings
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Json, Refused, Replied, Submit, Submits
from tests.support.builders import a_log
from tests.support.network import FakeNetwork, FakePeer
from tests.support.schedulers import NAMES, FakeSchedulers

PORT, LINE = "8080", b"POST /api/jobs HTTP/1.1"
WRONG = Refused(code="invalid_field", message="wrong", field="priority")
AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)
ID = "1" * 24


class ScriptedNetwork(FakeNetwork):
    """A network whose messages a test provides."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def poll(self, timeout_s: float) -> list[Envelope]:
        envelopes, self.envelopes = self.envelopes, []
        return envelopes

    def fileno(self) -> int:
        raise NotImplementedError


class Harness:
    """A fast path to three schedulers, whose threads run when a test says so."""

    def __init__(self) -> None:
        self.schedulers = FakeSchedulers()
        self.network = ScriptedNetwork()
        self.peers = [self.network.add(name) for name in NAMES]
        self.threads: list[Callable[[], None]] = []
        self.replies: list[Reply] = []
        self.request_metrics = RequestMetrics(self.schedulers.world, a_log())
        balancer = self.schedulers.balancer()
        world = self.schedulers.world
        self.fast_path = FastPath(
            {
                (PORT, LINE): FastRoute(
                    jobs=Jobs(balancer, world), scheduler=balancer, affinity=Affinity(balancer, world), route="POST /api/jobs"
                )
            },
            network=self.network,
            guards=Guards(read_settings({})), request_metrics=self.request_metrics,
            error_handlers=ErrorHandlers(world, a_log()), health=self.schedulers.health, world=world, in_thread=self._in_thread,
        )  # fmt: skip

    def take(self, *bodies: bytes, tick: bool = True, **more: str) -> None:
        """Take these requests in one tick."""
        for body in bodies:
            environ: Environ = {
                "HTTP_HOST": "localhost", "RAW_URI": "/api/jobs", "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body), "wsgi.input_terminated": True, **more,
            }  # fmt: skip
            fast_route = self.fast_path.fast_route(PORT, LINE)
            assert fast_route is not None
            self.fast_path.take(fast_route, environ, self.replies.append)
        if tick:
            self.fast_path.tick()

    def sent_to(self, index: int) -> list[Submit]:
        """What this scheduler received on the fast path, in order."""
        return [submit for message in self.peers[index].received if isinstance(message, Submits) for submit in message.submits]

    def frames_to(self, index: int) -> list[Submits]:
        return [message for message in self.peers[index].received if isinstance(message, Submits)]

    def says(self, peer: FakePeer, *replies: tuple[int, Accepted | Begun | Expired | Refused]) -> None:
        """The scheduler answers these numbers."""
        self.network.envelopes.append(peer.says(Replied(replies=list(replies))))
        self.fast_path.receive()

    def hangs_up(self, index: int) -> None:
        self.network.envelopes.append(self.peers[index].hangs_up())
        self.fast_path.receive()

    def run_threads(self) -> None:
        threads, self.threads = self.threads, []
        for thread in threads:
            thread()

    def statuses(self) -> list[int]:
        return [reply.status for reply in self.replies]

    def asked(self) -> list[tuple[str, bool]]:
        """The schedulers that threads sent submissions to, each with its `is_again`."""
        return [(name, request.is_again) for name, request in self.schedulers.asked if isinstance(request, Submit)]

    def _in_thread(self, work: Callable[[], Reply], on_reply: Callable[[Reply], None]) -> None:
        self.threads.append(lambda: on_reply(work()))


@pytest.fixture
def harness() -> Harness:
    return Harness()


def yes(job_id: str = ID) -> Accepted:
    return Accepted(job_ids=[job_id])


def test_submissions_of_one_tick_share_a_frame_and_the_next_goes_to_the_next_scheduler(harness: Harness) -> None:
    harness.take(b"1", b"2", b"3")
    harness.says(harness.peers[0], (0, yes()), (1, yes()), (2, WRONG))
    harness.take(b"4")

    assert [[submit.body for submit in frame.submits] for frame in harness.frames_to(0)] == [[b"1", b"2", b"3"]]
    assert [submit.body for submit in harness.sent_to(1)] == [b"4"]
    assert harness.sent_to(2) == []


def test_while_a_reply_is_due_submissions_go_to_the_same_scheduler_for_a_short_while(harness: Harness) -> None:
    harness.take(b"1")
    harness.take(b"2")
    harness.schedulers.world.advance(AFFINITY_S)
    harness.take(b"3")

    assert [submit.body for submit in harness.sent_to(0)] == [b"1", b"2"]
    assert [submit.body for submit in harness.sent_to(1)] == [b"3"]


def test_a_scheduler_that_became_unhealthy_gets_no_more_though_a_reply_is_due(harness: Harness) -> None:
    harness.take(b"1")
    harness.schedulers.gone = {NAMES[0]}
    harness.schedulers.health.check()
    harness.take(b"2")

    assert [submit.body for submit in harness.sent_to(0)] == [b"1"]
    assert [submit.body for submit in harness.sent_to(1) + harness.sent_to(2)] == [b"2"]


def test_each_request_gets_its_own_reply_in_any_order(harness: Harness) -> None:
    harness.take(b"1", b"2")
    first, second = (submit.first_id for submit in harness.sent_to(0))

    harness.says(harness.peers[0], (1, yes(second)))
    harness.says(harness.peers[0], (0, yes(first)))

    assert [json.loads(reply.body)["job_id"] for reply in harness.replies] == [second, first]
    assert harness.replies[0].headers["Location"] == f"/api/jobs/{second}"
    assert harness.threads == []
    assert not harness.fast_path.has_in_flight


def test_a_permanent_refusal_is_a_reply(harness: Harness) -> None:
    harness.take(b"1")

    harness.says(harness.peers[0], (0, WRONG))

    assert (harness.statuses(), json.loads(harness.replies[0].body)["error"]["field"]) == ([400], "priority")
    assert harness.threads == []


@pytest.mark.parametrize(
    ("more", "status"),
    [({"HTTP_HOST": "evil.example"}, 421), ({"HTTP_ORIGIN": "null"}, 403), ({"CONTENT_TYPE": "text/plain"}, 415),
     ({"HTTP_IDEMPOTENCY_KEY": ""}, 400), ({"CONTENT_LENGTH": "9"}, 400)],
)  # fmt: skip
def test_a_request_that_the_front_refuses_is_not_sent(harness: Harness, more: dict[str, str], status: int) -> None:
    harness.take(b"{}", **more)

    assert harness.statuses() == [status]
    assert harness.sent_to(0) == []


def test_a_refused_request_does_not_affect_others_of_the_same_tick(harness: Harness) -> None:
    harness.take(b"1", b"", b"2")

    harness.says(harness.peers[0], (0, yes()), (1, yes()))

    assert harness.statuses() == [400, 201, 201]


def test_without_a_reachable_scheduler_a_thread_sends_it_as_new(harness: Harness) -> None:
    harness.network.peers.clear()
    harness.take(b"1")

    harness.run_threads()

    assert (harness.statuses(), [is_again for _, is_again in harness.asked()]) == ([201], [False])


def test_a_submission_on_a_connection_that_was_lost_while_idle_is_sent_as_new(harness: Harness) -> None:
    harness.take(b"1")
    harness.says(harness.peers[0], (0, yes()))
    harness.take(b"2", b"3")
    harness.peers[0].close()
    harness.peers[2].close()

    harness.schedulers.world.advance(AFFINITY_S)
    harness.take(b"4")
    harness.run_threads()

    assert [is_again for _, is_again in harness.asked()] == [False]


def test_after_a_lost_connection_a_thread_sends_it_again(harness: Harness) -> None:
    harness.take(b"1", b"2")

    harness.hangs_up(0)
    harness.run_threads()

    assert harness.statuses() == [201, 201]
    assert [is_again for _, is_again in harness.asked()] == [True, True]
    assert NAMES[0] not in [name for name, _ in harness.asked()]


def test_a_lost_connection_does_not_affect_submissions_to_other_schedulers(harness: Harness) -> None:
    harness.take(b"1")
    harness.schedulers.world.advance(AFFINITY_S)
    harness.take(b"2")

    harness.hangs_up(0)
    harness.says(harness.peers[1], (1, yes()))

    assert (harness.statuses(), len(harness.threads)) == ([201], 1)


def test_a_replaced_scheduler_is_reconnected(harness: Harness) -> None:
    harness.take(b"1")
    harness.hangs_up(0)
    successor = harness.network.add(NAMES[0])

    for body in (b"2", b"3", b"4"):
        harness.take(body)
        harness.schedulers.world.advance(AFFINITY_S)

    assert [submit.body for frame in successor.received if isinstance(frame, Submits) for submit in frame.submits] == [b"4"]


def test_a_temporary_refusal_is_handed_to_a_thread(harness: Harness) -> None:
    harness.take(b"1")

    harness.says(harness.peers[0], (0, AWAY))

    assert harness.replies == []
    harness.run_threads()
    assert (harness.statuses(), harness.asked()) == ([503], [])


def test_a_submission_that_waits_long_is_handed_to_a_thread_which_gets_the_reply(harness: Harness) -> None:
    harness.take(b"1")
    harness.schedulers.world.advance(RECHECK_S + 0.01)
    harness.take(b"2")
    assert len(harness.threads) == 1

    harness.says(harness.peers[0], (0, yes()))
    assert harness.replies == []
    harness.run_threads()

    assert (harness.statuses(), harness.asked()) == ([201], [])


def test_no_submission_is_handed_over_twice(harness: Harness) -> None:
    harness.take(b"1")
    harness.schedulers.world.advance(RECHECK_S + 0.01)

    harness.fast_path.tick()
    harness.fast_path.tick()

    assert len(harness.threads) == 1


def test_after_a_lost_connection_that_had_begun_an_expired_from_another_scheduler_is_not_conclusive(harness: Harness) -> None:
    harness.schedulers.answer_in_turn(Expired())
    harness.take(b"1")
    harness.says(harness.peers[0], (0, Begun()))

    harness.hangs_up(0)
    harness.run_threads()

    assert json.loads(harness.replies[0].body)["error"]["code"] == "outcome_unknown"


def test_a_repeated_submission_reads_the_jobs_status_in_a_thread(harness: Harness) -> None:
    harness.schedulers.answers = dict.fromkeys(NAMES, lambda request: Json(body=b'{"status": "running"}'))
    harness.take(b"1")

    harness.says(harness.peers[0], (0, Accepted(job_ids=[ID], repeated=1)))
    assert harness.replies == []
    harness.run_threads()

    assert (harness.statuses(), json.loads(harness.replies[0].body)["status"]) == ([200], "running")


def test_an_internal_error_in_a_thread_gets_a_500(harness: Harness) -> None:
    def fails(request: Message) -> Message:
        raise RuntimeError("secret")

    harness.schedulers.answers = dict.fromkeys(NAMES, fails)
    harness.take(b"1")

    harness.hangs_up(0)
    harness.run_threads()

    assert harness.statuses() == [500]


def test_a_reply_with_an_unknown_number_is_ignored(harness: Harness) -> None:
    harness.take(b"1")

    harness.says(harness.peers[0], (7, yes()), (0, yes()), (0, yes()))

    assert harness.statuses() == [201]


def test_at_most_max_in_flight_submissions_are_taken_at_once(harness: Harness) -> None:
    harness.take(*[b"1"] * MAX_IN_FLIGHT)
    assert harness.fast_path.fast_route(PORT, LINE) is None

    harness.says(harness.peers[0], (0, yes()))

    assert harness.fast_path.fast_route(PORT, LINE) is not None


@pytest.mark.parametrize(("port", "line"), [("8081", LINE), (PORT, b"POST /api/jobs HTTP/1.0"), (PORT, b"GET /api/jobs HTTP/1.1")])
def test_no_other_request_is_taken(harness: Harness, port: str, line: bytes) -> None:
    assert harness.fast_path.fast_route(port, line) is None
