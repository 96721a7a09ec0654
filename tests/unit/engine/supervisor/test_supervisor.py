"""The supervisor's decisions, with simulated processes."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.hooks import Hooks, Stage
from jobyard.engine.supervisor.orphans import Orphans, PendingDeaths
from jobyard.engine.supervisor.process_table import STARTUP_TIMEOUT_S, ProcessIdentity, ProcessSpec, pause_after
from jobyard.engine.supervisor.role_loop import EXIT_CANNOT_START, EXIT_OK, EXIT_STOPPED_AT_ONCE, HASTEN
from jobyard.engine.supervisor.supervisor import AT_ONCE_S, LONGEST_SLEEP_S, Supervisor
from jobyard.engine.wire.messages import Json, Ping, Refused
from tests.support.network import FakePeer
from tests.support.processes import FakeProcesses

HANG_S = 10.0
WORKER, QUEUE = "worker-7001", "queue-6000"


class Office:
    """A supervisor of one worker and one queue, and a record of its actions."""

    def __init__(self, *, runs_role_loop: bool = True, startup_timeout_s: float = STARTUP_TIMEOUT_S) -> None:
        self.world = FakeProcesses()
        self.world.sessions[0] = os.getsid(0)
        self.heartbeats = HeartbeatPage(2)
        self.proven: list[str] = []
        self.told: list[str] = []
        self.owners: list[str] = []
        self.announced = 0
        self.is_roster_published = True
        self.forgotten: list[str] = []
        self.disk_is_full = False
        self.forks_fail = False
        self.pids: dict[str, int] = {}
        log = Log(self.world, level="error")
        self.supervisor = Supervisor(
            specs=[
                ProcessSpec(
                    name=name, role=name.split("-")[0], main=lambda identity: 0, runs_role_loop=runs_role_loop,
                    startup_timeout_s=startup_timeout_s,
                )
                for name in (WORKER, QUEUE)
            ],
            stages=[Stage(roles=frozenset({"worker"}), timeout_s=35), Stage(roles=frozenset({"queue"}), timeout_s=5)],
            owner=Owner("box", "b00t", "supervisor", 1), pid=1, hang_s=HANG_S, world=self.world, log=log,
            heartbeats=self.heartbeats, pending_deaths=PendingDeaths(record=self._record, orphans=Orphans(self.world), log=log),
            hooks=Hooks(
                fork=self._fork, report_deaths=self.told.extend, announce=self._announce,
                is_roster_published=lambda: self.is_roster_published, forget=self.forgotten.append,
            ),
        )  # fmt: skip

    def start(self) -> None:
        """All processes run and have sent a heartbeat."""
        self.supervisor.tick([])
        self.beat()
        self.supervisor.tick([])
        self.supervisor.tick([])

    def beat(self, *names: str) -> None:
        """Send a heartbeat of these processes, or of all."""
        for slot, name in enumerate((WORKER, QUEUE)):
            if name in (names or (WORKER, QUEUE)):
                self.heartbeats.slot(slot, self.world).beat()

    def pass_time(self, seconds: float, *, beating: tuple[str, ...] = (WORKER, QUEUE)) -> None:
        """Advance the clock second by second."""
        for _ in range(round(seconds)):
            self.world.advance(1)
            self.beat(*beating)
            self.supervisor.tick([])

    def ask(self, message: Ping) -> Json | Refused:
        """The supervisor's reply to a ping."""
        peer = FakePeer()
        self.supervisor.tick([peer.says(message)])
        answer = peer.received[0]
        assert isinstance(answer, Json | Refused)
        return answer

    def _fork(self, spec: ProcessSpec, identity: ProcessIdentity) -> int:
        if self.forks_fail:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.owners.append(identity.owner)
        self.pids[spec.name] = self.world.add(session=os.getsid(0))
        return self.pids[spec.name]

    def _record(self, owner: str) -> None:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.proven.append(owner)

    def _announce(self) -> None:
        self.announced += 1


@pytest.fixture
def office() -> Office:
    office = Office()
    office.start()
    return office


def test_readiness_is_announced_once_after_the_first_heartbeat_of_all() -> None:
    office = Office()

    office.supervisor.tick([])
    office.beat(WORKER)
    office.supervisor.tick([])
    announced_before = office.announced
    office.beat(QUEUE)
    office.supervisor.tick([])
    office.supervisor.tick([])

    assert (announced_before, office.announced) == (0, 1)
    assert office.owners == ["box:b00t:worker-7001:1", "box:b00t:queue-6000:1"]


def test_a_dead_process_is_replaced_at_once_with_a_new_owner_and_its_death_is_reported(office: Office) -> None:
    first = office.pids[WORKER]

    office.world.end(first)
    office.supervisor.tick([])

    assert office.pids[WORKER] != first
    assert office.owners[-1] == "box:b00t:worker-7001:2"
    assert office.proven == office.told == ["box:b00t:worker-7001:1"]


def test_a_crash_loop_slows_down_to_a_start_every_five_seconds_and_affects_no_other_process(office: Office) -> None:
    queue = office.pids[QUEUE]

    for _ in range(60):
        office.world.end(office.pids[WORKER], status=1)
        office.pass_time(1)

    starts = sum("worker" in owner for owner in office.owners)
    assert 12 <= starts <= 20
    assert office.pids[QUEUE] == queue


def test_a_failed_fork_is_retried(office: Office) -> None:
    office.forks_fail = True
    office.world.end(office.pids[WORKER])
    office.pass_time(3)

    office.forks_fail = False
    office.pass_time(5)

    assert office.pids[WORKER] in office.world.living
    assert not office.supervisor.has_ended


def test_the_pause_is_reset_after_ten_seconds_of_running(office: Office) -> None:
    for _ in range(4):
        office.world.end(office.pids[WORKER])
        office.pass_time(6)
    office.pass_time(10)
    last = office.pids[WORKER]

    office.world.end(last)
    office.supervisor.tick([])

    assert office.pids[WORKER] != last


def test_pauses_grow_from_nothing_to_five_seconds() -> None:
    pauses = [pause_after(deaths) for deaths in range(1, 9)]

    assert pauses == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_process_without_a_heartbeat_for_hang_s_is_replaced(office: Office) -> None:
    hung = office.pids[WORKER]

    office.pass_time(HANG_S + 1, beating=(QUEUE,))
    office.supervisor.tick([])

    assert (hung, signal.SIGKILL) in office.world.signals
    assert office.pids[WORKER] != hung
    assert office.owners.count("box:b00t:queue-6000:1") == 1


def test_a_process_waiting_for_a_lock_is_not_killed(office: Office) -> None:
    office.heartbeats.slot(0, office.world).waiting(True)

    office.pass_time(3 * HANG_S, beating=(QUEUE,))

    assert not office.world.signals


def test_a_stopped_process_is_replaced_even_when_it_was_waiting_for_a_lock(office: Office) -> None:
    office.heartbeats.slot(0, office.world).waiting(True)
    office.world.states[office.pids[WORKER]] = "T"
    stopped = office.pids[WORKER]

    office.pass_time(HANG_S + 1, beating=(QUEUE,))

    assert (stopped, signal.SIGKILL) in office.world.signals


@pytest.mark.parametrize("runs_role_loop", [True, False])
def test_a_hang_during_exit_is_detected_only_if_heartbeats_are_expected(runs_role_loop: bool) -> None:
    office = Office(runs_role_loop=runs_role_loop)
    office.start()
    office.world.obey_sigterm = False

    office.supervisor.stop()
    office.pass_time(HANG_S + 1, beating=(QUEUE,))

    assert ((office.pids[WORKER], signal.SIGKILL) in office.world.signals) is runs_role_loop


def test_a_supervisor_that_was_suspended_itself_kills_no_process(office: Office) -> None:
    office.world.advance(10 * HANG_S)
    office.supervisor.tick([])
    office.beat()
    office.pass_time(5)

    assert not office.world.signals


def test_the_first_heartbeat_may_take_the_startup_timeout() -> None:
    office = Office(startup_timeout_s=200)

    office.pass_time(199, beating=(QUEUE,))
    signals_before = list(office.world.signals)
    office.pass_time(3, beating=(QUEUE,))

    assert signals_before == []
    assert office.world.signals == [(office.pids[WORKER], signal.SIGKILL)]


def test_after_the_first_heartbeat_hang_s_applies() -> None:
    office = Office(startup_timeout_s=200)
    office.start()
    hung = office.pids[WORKER]

    office.pass_time(HANG_S + 1, beating=(QUEUE,))

    assert (hung, signal.SIGKILL) in office.world.signals


def test_a_death_is_proven_only_after_its_orphans_are_gone(office: Office) -> None:
    orphan = office.world.add(session=999)
    office.world.undying.add(orphan)

    office.world.end(office.pids[WORKER])
    office.supervisor.tick([])
    proven_with_orphan = list(office.proven)
    office.world.end(orphan)
    office.supervisor.tick([])

    assert proven_with_orphan == []
    assert office.proven == ["box:b00t:worker-7001:1"]
    assert (orphan, signal.SIGKILL) in office.world.signals
    assert 999 in office.world.killed_groups


def test_an_earlier_orphan_does_not_delay_a_later_proof(office: Office) -> None:
    office.world.undying.add(office.world.add(session=999))
    office.supervisor.tick([])

    office.world.end(office.pids[WORKER])
    office.supervisor.tick([])

    assert office.proven == ["box:b00t:worker-7001:1"]


def test_an_orphan_in_the_supervisors_group_is_killed_without_the_group(office: Office) -> None:
    orphan = office.world.add(session=os.getsid(0))

    office.supervisor.tick([])

    assert (orphan, signal.SIGKILL) in office.world.signals
    assert office.world.killed_groups == []


def test_a_death_that_cannot_be_recorded_is_recorded_later(office: Office) -> None:
    office.disk_is_full = True
    office.world.end(office.pids[WORKER])
    office.supervisor.tick([])
    told_before = list(office.told)

    office.disk_is_full = False
    office.supervisor.tick([])

    assert told_before == []
    assert office.told == ["box:b00t:worker-7001:1"]


def test_an_iteration_without_descriptors_is_abandoned_and_made_up_for(office: Office) -> None:
    office.world.children_fault = OSError(errno.EMFILE, "Too many open files")
    office.world.end(office.pids[WORKER])
    sleep_s = office.supervisor.tick([])
    proven_before = list(office.proven)

    office.world.children_fault = None
    office.supervisor.tick([])

    assert proven_before == [] and len(office.proven) == 1
    assert 0 < sleep_s < 1 and office.pids[WORKER] in office.world.living


def test_a_process_that_cannot_start_fails_the_start() -> None:
    office = Office()
    office.supervisor.tick([])

    office.world.end(office.pids[WORKER], status=EXIT_CANNOT_START)
    office.supervisor.tick([])
    office.supervisor.tick([])

    assert office.supervisor.has_ended
    assert office.supervisor.exit_status == EXIT_CANNOT_START
    assert not office.world.living


def test_after_readiness_a_process_that_cannot_start_is_restarted(office: Office) -> None:
    office.world.end(office.pids[WORKER], status=EXIT_CANNOT_START)
    office.pass_time(2)

    assert not office.supervisor.has_ended
    assert office.pids[QUEUE] in office.world.living


def test_a_stop_proceeds_stage_by_stage(office: Office) -> None:
    office.world.obey_sigterm = False
    office.supervisor.stop()
    office.supervisor.tick([])
    asked_first = list(office.world.signals)

    office.world.end(office.pids[WORKER], 0)
    office.supervisor.tick([])
    asked_then = office.world.signals[len(asked_first) :]
    office.world.end(office.pids[QUEUE], 0)
    office.supervisor.tick([])
    office.supervisor.tick([])

    assert asked_first == [(office.pids[WORKER], signal.SIGTERM)]
    assert asked_then == [(office.pids[QUEUE], signal.SIGTERM)]
    assert office.supervisor.has_ended
    assert office.supervisor.exit_status == EXIT_OK


def test_a_process_that_exceeds_its_stages_timeout_is_killed(office: Office) -> None:
    office.world.obey_sigterm = False

    office.supervisor.stop()
    office.pass_time(34)
    signals_before = [number for _, number in office.world.signals]
    office.pass_time(2)

    assert signal.SIGKILL not in signals_before
    assert (office.pids[WORKER], signal.SIGKILL) in office.world.signals


def test_no_process_is_restarted_during_a_stop(office: Office) -> None:
    office.world.obey_sigterm = False
    office.supervisor.stop()

    office.world.end(office.pids[QUEUE])
    office.pass_time(10, beating=(WORKER,))

    assert office.owners.count("box:b00t:queue-6000:2") == 0


def test_a_second_stop_kills_all_but_the_workers_which_hand_back_what_runs(office: Office) -> None:
    office.world.obey_sigterm = False
    office.supervisor.stop()

    office.supervisor.stop_at_once()
    signals = office.world.signals[1:]
    office.supervisor.tick([])
    has_ended_before = office.supervisor.has_ended
    office.world.end(office.pids[WORKER], 0)
    office.supervisor.tick([])
    office.supervisor.tick([])

    assert signals == [(office.pids[WORKER], HASTEN), (office.pids[QUEUE], signal.SIGKILL)]
    assert (has_ended_before, office.supervisor.has_ended) == (False, True)
    assert office.supervisor.exit_status == EXIT_STOPPED_AT_ONCE


def test_a_worker_that_takes_too_long_after_a_second_stop_is_killed(office: Office) -> None:
    office.world.obey_sigterm = False
    office.supervisor.stop()
    office.supervisor.stop_at_once()

    office.pass_time(AT_ONCE_S - 1)
    signals_before = list(office.world.signals)
    office.pass_time(2)

    assert (office.pids[WORKER], signal.SIGKILL) not in signals_before
    assert (office.pids[WORKER], signal.SIGKILL) in office.world.signals
    assert office.supervisor.has_ended


def test_kill_all_ends_everything_at_once(office: Office) -> None:
    office.world.obey_sigterm = False
    office.supervisor.stop()

    office.supervisor.kill_all()
    office.supervisor.tick([])

    assert office.supervisor.has_ended
    assert office.supervisor.exit_status == EXIT_STOPPED_AT_ONCE


def test_the_roster_shows_every_process(office: Office) -> None:
    office.world.advance(1)
    office.world.end(office.pids[WORKER])
    office.supervisor.tick([])

    shown = {row.name: row for row in office.supervisor.roster()}

    assert list(shown) == ["supervisor", WORKER, QUEUE]
    assert (shown[QUEUE].role, shown[QUEUE].pid, shown[QUEUE].state, shown[QUEUE].restarts) == (
        "queue", office.pids[QUEUE], "running", 0
    )  # fmt: skip
    assert shown[QUEUE].uptime_s(office.world.monotonic()) == 1.0
    assert (shown[WORKER].state, shown[WORKER].restarts, shown[WORKER].last_words) == ("starting", 1, "signal 9 (SIGKILL)")
    assert shown["supervisor"].role == "supervisor"


def test_the_roster_shows_since_when_a_state_holds(office: Office) -> None:
    before = office.supervisor.roster()[1].since
    office.pass_time(5)
    office.world.end(office.pids[WORKER])
    office.supervisor.tick([])

    after = office.supervisor.roster()[1]

    assert (before, after.since) == (1000.0, 1005.0)


def test_a_process_without_heartbeat_for_half_of_hang_s_is_silent_in_the_roster(office: Office) -> None:
    office.pass_time(HANG_S / 2, beating=(QUEUE,))
    before = office.supervisor.roster()[1].silent_since
    office.pass_time(1, beating=(QUEUE,))

    silent, lively = office.supervisor.roster()[1:]

    assert (before, silent.silent_since, lively.silent_since) == (None, 1000.0, None)


def test_a_restart_drains_and_starts_without_a_pause(office: Office) -> None:
    for _ in range(3):
        row = office.supervisor.restart(WORKER)
        office.supervisor.tick([])
        assert (office.world.signals[-1][1], row.state) == (signal.SIGTERM, "starting")

    assert office.owners.count("box:b00t:queue-6000:1") == 1
    assert office.owners[-1] == "box:b00t:worker-7001:4"


def test_a_drained_process_stays_down_and_unregistered_until_restarted(office: Office) -> None:
    office.supervisor.drain(WORKER)
    office.pass_time(20, beating=(QUEUE,))
    drained = office.supervisor.roster()[1]
    health = office.ask(Ping())
    office.supervisor.restart(WORKER)
    office.supervisor.tick([])

    assert (drained.state, drained.pid, office.forgotten) == ("drained", None, [WORKER])
    assert isinstance(health, Json)
    assert office.pids[WORKER] in office.world.living


def test_a_drained_process_does_not_delay_a_stop(office: Office) -> None:
    office.supervisor.drain(WORKER)
    office.supervisor.tick([])

    office.supervisor.stop()
    office.pass_time(2)

    assert office.supervisor.has_ended


def test_a_process_that_does_not_exit_on_request_is_killed_after_its_stages_timeout(office: Office) -> None:
    office.world.obey_sigterm = False

    office.supervisor.drain(WORKER)
    office.pass_time(34)
    before = list(office.world.signals)
    office.pass_time(3)

    assert signal.SIGKILL not in [number for _, number in before]
    assert (office.pids[WORKER], signal.SIGKILL) in office.world.signals


def test_readiness_is_not_announced_before_control_has_the_roster() -> None:
    office = Office()
    office.is_roster_published = False
    office.start()
    office.supervisor.tick([])
    before = office.announced

    office.is_roster_published = True
    office.supervisor.tick([])

    assert (before, office.announced) == (0, 1)


def test_an_absent_control_delays_the_announcement_by_a_second() -> None:
    office = Office()
    office.is_roster_published = False
    office.start()

    office.pass_time(2)

    assert office.announced == 1


def test_health_names_the_processes_that_are_down(office: Office) -> None:
    well = office.ask(Ping())
    for _ in range(3):
        office.world.end(office.pids[WORKER])
        office.supervisor.tick([])

    ill = office.ask(Ping())

    assert isinstance(well, Json)
    assert isinstance(ill, Refused) and "worker-7001 is restarting" in ill.message


def test_an_idle_supervisor_wakes_once_a_second(office: Office) -> None:
    assert office.supervisor.tick([]) == LONGEST_SLEEP_S


def test_sleep_never_outlasts_the_next_restart(office: Office) -> None:
    for _ in range(2):
        office.world.end(office.pids[WORKER])
        sleep_s = office.supervisor.tick([])

    assert 0 < sleep_s <= 0.25

