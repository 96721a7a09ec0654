"""Submissions without threads: those of one turn go together, each gets its own reply; what is not plain goes on in a thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO

import pytest

from jobyard.api.front.delivery import LOOK_S
from jobyard.api.front.fast_path import MOST, FastPath, FastRoute
from jobyard.api.http.body import Environ
from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.reply import Reply
from jobyard.api.http.request_metrics import RequestMetrics
from jobyard.api.views.jobs import Jobs
from jobyard.engine.config import read_settings
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Json, Message, Refused, Replied, Submit, Submits
from tests.support.builders import a_log
from tests.support.network import FakeNetwork, FakePeer
from tests.support.schedulers import NAMES, FakeSchedulers

PORT, LINE = "8080", b"POST /api/jobs HTTP/1.1"
WRONG = Refused(code="invalid_field", message="wrong", field="priority")
AWAY = Refused(code="database_unavailable", message="away", retry_after_s=1)
ID = "1" * 24


class ProcessSpec(FakeNetwork):
    """Letters come when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def poll(self, timeout_s: float) -> list[Envelope]:
        envelopes, self.envelopes = self.envelopes, []
        return envelopes

    def fileno(self) -> int:
        raise NotImplementedError


class Station:
    """An express to three schedulers, whose threads run when a test says so."""

    def __init__(self) -> None:
        self.schedulers = FakeSchedulers()
        self.network = ProcessSpec()
        self.peers = [self.network.add(name) for name in NAMES]
        self.threads: list[Callable[[], None]] = []
        self.replies: list[Reply] = []
        self.request_metrics = RequestMetrics(self.schedulers.world, a_log())
        line = self.schedulers.line()
        world = self.schedulers.world
        self.fast_path = FastPath(
            {(PORT, LINE): FastRoute(jobs=Jobs(line, world), scheduler=line, route="POST /api/jobs")}, network=self.network,
            guards=Guards(read_settings({})), request_metrics=self.request_metrics,
            error_handlers=ErrorHandlers(world, a_log()), health=self.schedulers.health, world=world, in_thread=self._in_thread,
        )  # fmt: skip

    def take(self, *bodies: bytes, turn: bool = True, **more: str) -> None:
        """Requests of one turn."""
        for body in bodies:
            environ: Environ = {
                "HTTP_HOST": "localhost", "RAW_URI": "/api/jobs", "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body), "wsgi.input_terminated": True, **more,
            }  # fmt: skip
            fast_route = self.fast_path.fast_route(PORT, LINE)
            assert fast_route is not None
            self.fast_path.take(fast_route, environ, self.replies.append)
        if turn:
            self.fast_path.turn()

    def sent_to(self, index: int) -> list[Submit]:
        """What this scheduler got by the express, frame after frame."""
        return [submit for message in self.peers[index].received if isinstance(message, Submits) for submit in message.submits]

    def frames_to(self, index: int) -> list[Submits]:
        return [message for message in self.peers[index].received if isinstance(message, Submits)]

    def says(self, peer: FakePeer, *replies: tuple[int, Accepted | Begun | Expired | Refused]) -> None:
        """It answers these numbers."""
        self.network.envelopes.append(peer.says(Replied(replies=list(replies))))
        self.fast_path.hear()

    def hangs_up(self, index: int) -> None:
        self.network.envelopes.append(self.peers[index].hangs_up())
        self.fast_path.hear()

    def run_threads(self) -> None:
        threads, self.threads = self.threads, []
        for thread in threads:
            thread()

    def statuses(self) -> list[int]:
        return [reply.status for reply in self.replies]

    def asked(self) -> list[tuple[str, bool]]:
        """Whom the threads asked to store something, and whether as come again."""
        return [(name, request.is_again) for name, request in self.schedulers.asked if isinstance(request, Submit)]

    def _in_thread(self, work: Callable[[], Reply], then: Callable[[Reply], None]) -> None:
        self.threads.append(lambda: then(work()))


@pytest.fixture
def station() -> Station:
    return Station()


def yes(job_id: str = ID) -> Accepted:
    return Accepted(job_ids=[job_id])


def test_all_of_one_turn_are_one_frame_and_the_next_turn_is_the_next_schedulers(station: Station) -> None:
    station.take(b"1", b"2", b"3")
    station.take(b"4")

    assert [[submit.body for submit in frame.submits] for frame in station.frames_to(0)] == [[b"1", b"2", b"3"]]
    assert [submit.body for submit in station.sent_to(1)] == [b"4"]
    assert station.sent_to(2) == []


def test_each_gets_its_own_reply_in_whatever_order_they_come(station: Station) -> None:
    station.take(b"1", b"2")
    first, second = (submit.first_id for submit in station.sent_to(0))

    station.says(station.peers[0], (1, yes(second)))
    station.says(station.peers[0], (0, yes(first)))

    assert [json.loads(reply.body)["job_id"] for reply in station.replies] == [second, first]
    assert station.replies[0].headers["Location"] == f"/api/jobs/{second}"
    assert station.threads == []
    assert not station.fast_path.is_waiting


def test_a_refusal_that_lasts_is_a_reply(station: Station) -> None:
    station.take(b"1")

    station.says(station.peers[0], (0, WRONG))

    assert (station.statuses(), json.loads(station.replies[0].body)["error"]["field"]) == ([400], "priority")
    assert station.threads == []


@pytest.mark.parametrize(
    ("more", "status"),
    [({"HTTP_HOST": "evil.example"}, 421), ({"HTTP_ORIGIN": "null"}, 403), ({"CONTENT_TYPE": "text/plain"}, 415),
     ({"HTTP_IDEMPOTENCY_KEY": ""}, 400), ({"CONTENT_LENGTH": "9"}, 400)],
)  # fmt: skip
def test_what_the_front_refuses_is_sent_to_nobody(station: Station, more: dict[str, str], status: int) -> None:
    station.take(b"{}", **more)

    assert station.statuses() == [status]
    assert station.sent_to(0) == []


def test_one_that_is_refused_costs_those_beside_it_nothing(station: Station) -> None:
    station.take(b"1", b"", b"2")

    station.says(station.peers[0], (0, yes()), (1, yes()))

    assert station.statuses() == [400, 201, 201]


def test_with_nobody_there_a_thread_sends_it_as_new(station: Station) -> None:
    station.network.peers.clear()
    station.take(b"1")

    station.run_threads()

    assert (station.statuses(), [is_again for _, is_again in station.asked()]) == ([201], [False])


def test_one_whose_connection_broke_when_it_was_idle_is_sent_as_new(station: Station) -> None:
    station.take(b"1")
    station.says(station.peers[0], (0, yes()))
    station.take(b"2", b"3")
    station.peers[0].close()
    station.peers[2].close()

    station.take(b"4")
    station.run_threads()

    assert [is_again for _, is_again in station.asked()] == [False]


def test_what_breaks_off_goes_on_in_a_thread_as_come_again(station: Station) -> None:
    station.take(b"1", b"2")

    station.hangs_up(0)
    station.run_threads()

    assert station.statuses() == [201, 201]
    assert [is_again for _, is_again in station.asked()] == [True, True]
    assert NAMES[0] not in [name for name, _ in station.asked()]


def test_one_that_breaks_off_costs_what_is_with_others_nothing(station: Station) -> None:
    station.take(b"1")
    station.take(b"2")

    station.hangs_up(0)
    station.says(station.peers[1], (1, yes()))

    assert (station.statuses(), len(station.threads)) == ([201], 1)


def test_a_successor_is_connected_to(station: Station) -> None:
    station.take(b"1")
    station.hangs_up(0)
    successor = station.network.add(NAMES[0])

    for body in (b"2", b"3", b"4"):
        station.take(body)

    assert [submit.body for frame in successor.received if isinstance(frame, Submits) for submit in frame.submits] == [b"4"]


def test_a_refusal_for_now_is_a_threads_to_weigh(station: Station) -> None:
    station.take(b"1")

    station.says(station.peers[0], (0, AWAY))

    assert station.replies == []
    station.run_threads()
    assert (station.statuses(), station.asked()) == ([503], [])


def test_who_waits_for_long_goes_on_in_a_thread_and_finds_the_reply_there(station: Station) -> None:
    station.take(b"1")
    station.schedulers.world.advance(LOOK_S + 0.01)
    station.take(b"2")
    assert len(station.threads) == 1

    station.says(station.peers[0], (0, yes()))
    assert station.replies == []
    station.run_threads()

    assert (station.statuses(), station.asked()) == ([201], [])


def test_a_turn_hands_nobody_over_twice(station: Station) -> None:
    station.take(b"1")
    station.schedulers.world.advance(LOOK_S + 0.01)

    station.fast_path.turn()
    station.fast_path.turn()

    assert len(station.threads) == 1


def test_one_that_had_begun_and_broke_off_may_be_stored_whatever_others_say(station: Station) -> None:
    station.schedulers.answer_in_turn(Expired())
    station.take(b"1")
    station.says(station.peers[0], (0, Begun()))

    station.hangs_up(0)
    station.run_threads()

    assert json.loads(station.replies[0].body)["error"]["code"] == "outcome_unknown"


def test_one_that_was_accepted_before_is_asked_about_in_a_thread(station: Station) -> None:
    station.schedulers.answers = dict.fromkeys(NAMES, lambda request: Json(body=b'{"status": "running"}'))
    station.take(b"1")

    station.says(station.peers[0], (0, Accepted(job_ids=[ID], repeated=1)))
    assert station.replies == []
    station.run_threads()

    assert (station.statuses(), json.loads(station.replies[0].body)["status"]) == ([200], "running")


def test_a_fault_of_ours_in_a_thread_is_told_as_one(station: Station) -> None:
    def fails(request: Message) -> Message:
        raise RuntimeError("secret")

    station.schedulers.answers = dict.fromkeys(NAMES, fails)
    station.take(b"1")

    station.hangs_up(0)
    station.run_threads()

    assert station.statuses() == [500]


def test_a_number_that_nobody_has_is_nobodys(station: Station) -> None:
    station.take(b"1")

    station.says(station.peers[0], (7, yes()), (0, yes()), (0, yes()))

    assert station.statuses() == [201]


def test_no_more_than_so_many_are_taken_until_some_are_answered(station: Station) -> None:
    station.take(*[b"1"] * MOST)
    assert station.fast_path.fast_route(PORT, LINE) is None

    station.says(station.peers[0], (0, yes()))

    assert station.fast_path.fast_route(PORT, LINE) is not None


@pytest.mark.parametrize(("port", "line"), [("8081", LINE), (PORT, b"POST /api/jobs HTTP/1.0"), (PORT, b"GET /api/jobs HTTP/1.1")])
def test_nothing_else_is_taken(station: Station, port: str, line: bytes) -> None:
    assert station.fast_path.fast_route(port, line) is None
