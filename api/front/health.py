"""Who of the schedulers is well: a ping each second, four times as often while one owes an answer.

    well ──its connection is refused or broken──▶ gone      ──▶ well again when it has answered a ping, or whatever it was asked
      └── a ping unanswered for SILENT_S ───────▶ silent ──┘

One that is only busy answers between two commits, and stays well. A ping is waited for over several rounds; so one that hangs
owes the same ping all the time, and costs the others nothing. What is done with this knowledge is `front.load_balancer`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from jobyard.engine.logs import Log
from jobyard.engine.wire.caller import SILENT_S, Call, Caller, NoAnswer
from jobyard.engine.wire.messages import Message, Ping, Refused
from jobyard.engine.world import World

CHECK_EVERY_S = 1.0
CHECK_SOON_S = 0.25
CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """A ping on its way."""

    call: Call
    since: float


class Health:
    """Of all schedulers, as one front process sees it; shared by its threads."""

    def __init__(self, caller: Caller, *, schedulers: Callable[[], list[str]], world: World, log: Log) -> None:
        self._caller = caller
        self._schedulers = schedulers
        self._world = world
        self._log = log
        self._names: list[str] = []
        self._out: frozenset[str] = frozenset()
        self._pings: dict[str, Asked] = {}
        self._lock = threading.Lock()
        self._someone_failed = threading.Event()

    def schedulers(self) -> list[str]:
        """Those that should be there, as of the last check."""
        if not self._names:
            self._names = self._schedulers()
        return self._names

    def is_well(self, name: str) -> bool:
        """Whether to ask it."""
        return name not in self._out

    def note_answer(self, name: str) -> None:
        """It has just answered."""
        if name in self._out:
            self._put(name, is_well=True)

    def note_gone(self, name: str) -> None:
        """Its connection was refused, or has broken."""
        self._put(name, is_well=False)
        self._someone_failed.set()

    def check_for_ever(self) -> None:
        """The life of one thread."""
        while True:
            self._someone_failed.wait(CHECK_SOON_S if self._out or self._pings else CHECK_EVERY_S)
            self._someone_failed.clear()
            self.check_or_log()

    def check_or_log(self) -> None:
        """Whatever goes wrong, such as no descriptor being left for a moment, may be right the next time."""
        try:
            self.check()
        except Exception as fault:
            self._log.error("health_check_failed", error=repr(fault))

    def check(self) -> None:
        """Ask everybody who does not owe an answer, and hear what comes of it for a moment."""
        self._names = self._schedulers()
        for name in set(self._pings) - set(self._names):
            self._pings.pop(name).call.drop()
        for name in set(self._names) - set(self._pings):
            self._ask(name)
        deadline = self._world.monotonic() + CHECK_S
        for name in list(self._pings):
            self._hear(name, deadline)

    def _ask(self, name: str) -> None:
        try:
            self._pings[name] = Asked(self._caller.begin(name, Ping()), self._world.monotonic())
        except NoAnswer:
            self._put(name, is_well=False)

    def _hear(self, name: str, deadline: float) -> None:
        asked = self._pings[name]
        try:
            answer = asked.call.wait(deadline - self._world.monotonic())
        except NoAnswer:
            del self._pings[name]
            self._put(name, is_well=False)
            return
        if answer is not None:
            del self._pings[name]
            self._put(name, is_well=not _is_down(answer))
        elif self._world.monotonic() - asked.since >= SILENT_S:
            self._put(name, is_well=False)

    def _put(self, name: str, *, is_well: bool) -> None:
        with self._lock:
            self._out = self._out - {name} if is_well else self._out | {name}


def _is_down(answer: Message) -> bool:
    """A scheduler whose database is away still answers, and says so to clients better than a balancer without schedulers."""
    return isinstance(answer, Refused) and answer.code != "database_unavailable"
