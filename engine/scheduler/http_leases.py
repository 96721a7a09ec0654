"""What a scheduler does for HTTP workers: leases jobs to them (`lease_grants`) and writes what they tell (`settlements`)."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.logs import Log
from jobyard.engine.scheduler.declared_tasks import DeclaredTasks
from jobyard.engine.scheduler.http_workers import HttpWorkers
from jobyard.engine.scheduler.lease_grants import LeaseGrants
from jobyard.engine.scheduler.settlements import Settlements
from jobyard.engine.store.port import Store
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.lease_messages import AwaitLeases, LeaseJobs, ReturnLeases, SettleLeases
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json, Refused
from jobyard.engine.world import World

STOPPING = Refused(code="unavailable", message="this scheduler is stopping; try again", retry_after_s=1)


class HttpLeases:
    """The leases of one scheduler."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, log: Log, declared: DeclaredTasks,
        wake: Callable[..., None], tell_keeper: Callable[[], None],
    ) -> None:  # fmt: skip
        """`wake` receives the times at which jobs are due again, or others may begin, and whether some waited for what ended.

        `tell_keeper`: there are new leases.
        """
        self._workers = HttpWorkers(world)
        self._grants = LeaseGrants(
            owner=owner, settings=settings, world=world, store=store, workers=self._workers, declared=declared,
            tell_keeper=tell_keeper,
        )  # fmt: skip
        self._settlements = Settlements(settings=settings, world=world, store=store, log=log)
        self._wake, self._store, self._world = wake, store, world
        self._is_draining = False

    @property
    def is_over(self) -> bool:
        """Whether every request but those that wait has its answer."""
        return self._settlements.is_over

    def take(self, peer: Peer, message: LeaseJobs | AwaitLeases | SettleLeases) -> None:
        """A request; `work` answers it. Once this process stops, requests wait at another scheduler."""
        if isinstance(message, SettleLeases):
            self._settlements.take(peer, message)
        elif isinstance(message, AwaitLeases):
            self._grants.wait(peer, message)
        elif self._is_draining:
            peer.send(STOPPING)
        else:
            self._grants.take(peer, message)

    def give_back(self, message: ReturnLeases) -> Message:
        """No client received these leases."""
        self._grants.give_back(message.tokens)
        return Json(body=b"{}")

    def drop(self, peer: Peer) -> None:
        """A front is gone, and with it the requests that wait there."""
        self._grants.drop(peer)

    def wake(self) -> None:
        """Something may be due now that was not before."""
        self._grants.wake()

    def drain(self) -> None:
        """Lease nothing more."""
        self._is_draining = True

    def work(self) -> None:
        """Write what was told, then lease what is due."""
        self._settlements.commit()
        wakes, self._settlements.wakes = self._settlements.wakes, []
        resolves = self._settlements.has_ended and self._may_resolve()
        self._settlements.has_ended = False
        if wakes or resolves:
            self._wake([*wakes, *([self._world.now()] if resolves else [])], resolves=resolves)
        if not self._is_draining:
            self._grants.look()

    def _may_resolve(self) -> bool:
        try:
            return self._store.workflows.may_have_unresolved()
        except StoreUnavailable:
            return True

    def next_s(self) -> float:
        """The time until there is something to do."""
        return float("inf") if self._is_draining else self._grants.next_look_s()

    def workers(self) -> list[dict[str, object]]:
        """Those that asked last, newest first."""
        return self._workers.shown()

    def counts(self) -> dict[str, int]:
        """What was leased, and how it ended, by the names that workers' counters have."""
        return {"jobs_leased": self._grants.granted, **self._settlements.counts}

    @property
    def attempts(self) -> dict[str, dict[str, int]]:
        """How attempts ended, by task and outcome."""
        return self._settlements.attempts
