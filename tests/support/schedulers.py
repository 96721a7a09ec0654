"""Schedulers as a front sees them, without sockets: each does what the test says, and time passes while one is waited for."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.api.front.health import Health
from jobyard.api.front.load_balancer import LoadBalancer
from jobyard.engine.wire.caller import NoAnswer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Json, Ping
from tests.support.builders import a_log
from tests.support.world import FakeWorld

NAMES = ["scheduler-8081", "scheduler-8082", "scheduler-8083"]
ID = "0" * 24
Answer = Callable[[Message], Message]


class FakeCall:
    """A request that one of the schedulers has received."""

    def __init__(self, schedulers: FakeSchedulers, name: str, request: Message) -> None:
        self._schedulers = schedulers
        self._name = name
        self._request = request
        self._answers_at = schedulers.world.monotonic() + schedulers.takes_s.get(name, 0)
        self.was_sent = name not in schedulers.deaf
        self.has_begun = False
        self.is_dropped = False

    def wait(self, timeout_s: float) -> Message | None:
        assert not self.is_dropped
        self.has_begun = self.has_begun or (self._name in self._schedulers.begun and not isinstance(self._request, Ping))
        if self._name in self._schedulers.broken:
            if self._name in self._schedulers.answers:
                self._schedulers.answer(self._name, self._request)
            raise NoAnswer(self._name, was_sent=self.was_sent)
        if self._name in self._schedulers.hung or self._schedulers.world.monotonic() < self._answers_at or not self.was_sent:
            if not isinstance(self._request, Ping):
                self._schedulers.pass_time(timeout_s)
            return None
        return self._schedulers.answer(self._name, self._request)

    def drop(self) -> None:
        self.is_dropped = True


class FakeSchedulers:
    """All schedulers, and the `Caller` by which they are called."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.asked: list[tuple[str, Message]] = []
        self.pinged: list[str] = []
        self.calls: list[FakeCall] = []
        self.gone: set[str] = set()
        """Refuses connections."""
        self.broken: set[str] = set()
        """Receives the request, carries it out, and loses the connection before it answers."""
        self.hung: set[str] = set()
        """Receives requests and pings, and never answers."""
        self.deaf: set[str] = set()
        """Does not even receive them."""
        self.begun: set[str] = set()
        """Answers `Begun`."""
        self.takes_s: dict[str, float] = {}
        """Answers pings at once, other requests after this time."""
        self.answers: dict[str, Answer] = {}
        self.health = Health(self, schedulers=lambda: list(NAMES), world=self.world, log=a_log())  # type: ignore[arg-type]
        self.is_client_gone = False
        self.in_time: list[tuple[float, Callable[[], object]]] = []

    def balancer(self, names: list[str] = NAMES) -> LoadBalancer:
        return LoadBalancer(
            self, schedulers=lambda: names, health=self.health, world=self.world, pause=self.pass_time,  # type: ignore[arg-type]
            is_client_gone=lambda: self.is_client_gone,
        )  # fmt: skip

    def begin(self, name: str, request: Message) -> FakeCall:
        if isinstance(request, Ping):
            self.pinged.append(name)
        else:
            self.asked.append((name, request))
        if name in self.gone:
            raise NoAnswer(name, was_sent=False)
        call = FakeCall(self, name, request)
        if isinstance(request, Ping):
            call._answers_at = 0.0
        else:
            self.calls.append(call)
        return call

    def answer(self, name: str, request: Message) -> Message:
        if isinstance(request, Ping):
            return Json(body=b"{}")
        return self.answers[name](request) if name in self.answers else Accepted(job_ids=[ID])

    def answer_in_turn(self, *answers: Message) -> None:
        """Every request gets the next of these answers; the last one is repeated."""
        left = list(answers)
        self.answers = dict.fromkeys(NAMES, lambda request: left.pop(0) if len(left) > 1 else left[0])

    def pass_time(self, seconds: float) -> None:
        """Time passes, with health checks and the events that are due."""
        self.world.advance(seconds)
        while self.in_time and self.in_time[0][0] <= self.world.monotonic():
            _, happens = self.in_time.pop(0)
            happens()
        self.health.check()

    def after(self, seconds: float, *happens: Callable[[], object]) -> None:
        """Do this after a delay."""
        self.in_time += [(self.world.monotonic() + seconds, one) for one in happens]

    def names(self) -> list[str]:
        """The schedulers that got requests, in order."""
        return [name for name, _ in self.asked]
