"""Keeps every process of its table running: starts, reaps, restarts, replaces hung ones, drains, kills.

A state machine like the roles: `tick` receives what arrived, returns how long the loop may sleep, and never blocks.

    STARTING ──all are ready──▶ WATCHING ──stop──▶ DRAINING, stage by stage ─────────────────────▶ ended
        │                                             └──second stop──▶ workers only, AT_ONCE_S ───┤
        └── one cannot start, or the guard died ──▶ KILLING ───────────────────────────────────────┘
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from jobyard.engine.control.protocol import CONTROL
from jobyard.engine.control.snapshot import RosterRow
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.hooks import Hooks, Stage
from jobyard.engine.supervisor.orphans import PendingDeaths
from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec, ProcessState, Row
from jobyard.engine.supervisor.role_loop import EXIT_CANNOT_START, EXIT_OK, EXIT_STOPPED_AT_ONCE, HASTEN, describe_exit
from jobyard.engine.supervisor.template_keeper import ReloadResult, TemplateKeeper
from jobyard.engine.topology import SUPERVISOR, WORKER
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Ping, Ready, Refused
from jobyard.engine.world import World

LONGEST_SLEEP_S = 1.0
SHORT_SLEEP_S = 0.01
RECHECK_S = 0.05
"""How often the heartbeat of a restarted process is checked until it is ready."""
KILL_AGAIN_S = 1.0
AT_ONCE_S = 4.0
"""How long workers may take at a second stop: their tasks get an exception, a second later SIGTERM, a second later SIGKILL."""
ROSTER_TIMEOUT_S = 1.0
SILENT_S = 5.0
"""Twice the longest sleep of any process; a process without a heartbeat for this long is shown as silent in the roster."""
STOPPED = "T"


class Supervisor:
    """The table and the actions on it."""

    def __init__(
        self, *, specs: Sequence[ProcessSpec], stages: Sequence[Stage], owner: Owner, pid: int, hang_s: float, world: World,
        log: Log,
        heartbeats: HeartbeatPage, pending_deaths: PendingDeaths, hooks: Hooks, templates: TemplateKeeper | None = None,
    ) -> None:  # fmt: skip
        """`owner` and `pid`: the supervisor's own; its children's owners differ in process and generation. `templates`: None if
        there are no workers."""
        self.rows = [Row(spec=spec, slot=slot) for slot, spec in enumerate(specs)]
        self._stages = stages
        self._owner = owner
        self._pid = pid
        self._hang_s = hang_s
        self._silent_s = min(SILENT_S, hang_s / 2)
        self._world = world
        self._log = log
        self._heartbeats = heartbeats
        self._pending_deaths = pending_deaths
        self._hooks = hooks
        self._templates = templates
        self._announced = self._has_failed = False
        self._ready_since: float | None = None
        self._started_at = self._ticked_at = self._watching_since = world.monotonic()
        self._stage: int | None = None
        self._stage_ends_at = self._stopping_since = 0.0
        self._kill_all_at: float | None = None
        self.exit_status = EXIT_OK

    @property
    def has_ended(self) -> bool:
        """Whether everything has ended after `stop` or `kill_all`."""
        has_template = self._templates is not None and not self._templates.is_empty
        is_stopped = self._stage == len(self._stages) and not self._living()
        return is_stopped and not has_template and self._pending_deaths.has_no_orphans

    def tick(self, inbox: list[Envelope]) -> float:
        """One iteration; returns the longest time to sleep before the next, in seconds.

        An iteration that fails because no descriptor or process is free is abandoned, and all of it is due again in the next one.
        """
        try:
            self._iterate(inbox)
        except OSError as fault:
            if not self._has_failed:
                self._log.error("supervisor_iteration_failed", reason=str(fault))
            self._has_failed = True
            return RECHECK_S
        self._has_failed = False
        return self._sleep_s()

    def _iterate(self, inbox: list[Envelope]) -> None:
        self._detect_own_pause()
        self._answer(inbox)
        self._reap()
        self._keep_templates()
        self._prove_deaths()
        self._check_readiness()
        self._replace_hung()
        self._kill_overdue()
        if self._stage is None:
            self._start_due()
        else:
            self._end_at_once()
            self._continue_drain()

    def stop(self) -> None:
        """Drain stage by stage; a stage ends when all of its processes have exited, or were killed after its timeout."""
        if self._stage is None:
            self._log.info("stop_begun")
            self._stopping_since = self._world.monotonic()
            self._enter_stage(0)

    def stop_at_once(self) -> None:
        """Kill everything but the workers, which end what runs, hand it back and exit; they are killed after `AT_ONCE_S`."""
        if self._stage == len(self._stages):
            self.kill_all()
        if self._kill_all_at is not None or self._stage == len(self._stages):
            return
        self._log.warning("stop_hastened")
        self.stop()
        self._kill_all_at = self._world.monotonic() + AT_ONCE_S
        for row in self._living():
            if row.spec.role == WORKER and row.is_ready:
                row.is_asked_to_stop = True
                self._world.kill(row.pid or 0, HASTEN)
            else:
                self._kill(row)

    def kill_all(self, exit_status: int = EXIT_STOPPED_AT_ONCE) -> None:
        """Kill all processes now."""
        if self._stage != len(self._stages) or self.exit_status == EXIT_OK:
            self._log.warning("kill_begun")
        self.exit_status = exit_status
        self._stopping_since = self._stopping_since or self._world.monotonic()
        self._stage = len(self._stages)
        for row in self._living():
            self._kill(row)
        if self._templates is not None:
            self._templates.kill_all()

    @property
    def has_templates(self) -> bool:
        """Whether this start has workers, and so imports task modules."""
        return self._templates is not None

    def reload(self, report: ReloadResult | None = None) -> None:
        """Import the user's modules again, for new executors; `report` is called with the outcome."""
        if self._templates is not None and self._stage is None:
            self._templates.reload(report)
        elif report is not None:
            report("no worker runs here" if self._templates is None else "the system is stopping")

    # ---- starting

    def _start_due(self) -> None:
        """Control and the first template are started first: the template reports the tasks, or why they cannot be imported."""
        waits = self._templates is not None and not self._templates.has_begun
        now = self._world.monotonic()
        for row in self.rows:
            if row.pid is None and now >= row.start_at and not row.stays_down and not (waits and row.spec.role != CONTROL):
                self._start(row)

    def _start(self, row: Row) -> None:
        row.generation += 1
        row.is_asked_to_stop = row.is_hung = False
        self._heartbeats.clear(row.slot)
        identity = ProcessIdentity(owner=self._owner_of(row), heartbeat=self._heartbeats.slot(row.slot, self._world))
        row.started_at = self._world.monotonic()
        try:
            row.pid = self._hooks.fork(row.spec, identity)
        except OSError as fault:  # out of memory, or too many processes: temporary
            pause_s = row.record_death(row.started_at)
            self._log.error("process_not_started", name=row.spec.name, reason=fault.strerror, pause_s=pause_s)
            return
        self._log.info("process_started", name=row.spec.name, pid=row.pid, restarts=row.restarts)

    def _check_readiness(self) -> None:
        for row in self._living():
            row.is_ready = row.is_ready or self._heartbeats.last_beat(row.slot) > 0
        if self._announced or self._stage is not None or not all(row.is_ready for row in self.rows):
            return
        now = self._world.monotonic()
        if self._ready_since is None:
            self._ready_since = now
        elif self._hooks.is_roster_published() or now - self._ready_since >= ROSTER_TIMEOUT_S:
            self._announced = True
            self._hooks.announce()

    # ---- deaths

    def _reap(self) -> None:
        rows = {row.pid: row for row in self._living()}
        for pid, status in self._world.reap():
            if pid in rows:
                self._note_death(rows[pid], status)
            elif self._templates is not None:
                self._templates.note_death(pid, status)

    def _note_death(self, row: Row, status: int) -> None:
        now = self._world.monotonic()
        if row.spec.runs_role_loop:
            self._pending_deaths.await_proof(self._owner_of(row))
            if self._templates is not None:
                self._templates.end_worker(self._owner_of(row))
        lived_s = round(now - row.started_at, 3)
        row.last_words = describe_exit(status)
        pause_s = row.record_death(now)
        if row.stays_down:
            self._hooks.forget(row.spec.name)
        log = self._log.info if row.is_asked_to_stop and status == EXIT_OK else self._log.warning
        log("process_ended", name=row.spec.name, how=describe_exit(status), lived_s=lived_s, pause_s=pause_s)
        if status == EXIT_CANNOT_START and not self._announced and self._stage is None:
            self.kill_all(EXIT_CANNOT_START)

    def _keep_templates(self) -> None:
        if self._templates is None:
            return
        self._templates.tick(watching_since=self._watching_since)
        if self._templates.failure is not None and not self._templates.has_begun and self._stage is None:
            self._hooks.report_fault(self._templates.failure)
            self.kill_all(EXIT_CANNOT_START)

    def _prove_deaths(self) -> None:
        """Executors are children of a template, which reaps them first; their descendants are found among the orphans."""
        living = {row.pid for row in self._living() if row.pid}
        if self._templates is None:
            proven = self._pending_deaths.sweep(living)
        else:
            proven = self._pending_deaths.sweep(living | self._templates.pids(), is_clear_of=self._templates.is_clear_of)
        if proven and self._stage is None:
            self._hooks.report_deaths(proven)

    # ---- hanging

    def _detect_own_pause(self) -> None:
        """If the supervisor or the machine was suspended, the time before now does not count as a hang of other processes."""
        now = self._world.monotonic()
        if now - self._ticked_at > 2 * LONGEST_SLEEP_S:
            self._watching_since = now
        self._ticked_at = now

    def _replace_hung(self) -> None:
        now = self._world.monotonic()
        for row in self._living():
            seen_at = max(self._heartbeats.last_beat(row.slot), row.started_at, self._watching_since)
            row.silent_since = seen_at if row.is_ready and now - seen_at > self._silent_s and not self._is_waiting(row) else None
            if now - seen_at > self._heartbeat_timeout_s(row) and not self._is_waiting(row) and not self._exits_without_beats(row):
                if not row.is_hung:
                    self._log.warning("process_hung", name=row.spec.name, pid=row.pid, silent_s=round(now - seen_at, 3))
                row.is_hung = True
                self._kill(row)

    def _heartbeat_timeout_s(self, row: Row) -> float:
        return self._hang_s if row.is_ready else max(row.spec.startup_timeout_s, self._hang_s)

    def _is_waiting(self, row: Row) -> bool:
        """Whether it waits for a lock, so that the holder is the one that hangs; not if this process itself is stopped."""
        return self._heartbeats.is_waiting(row.slot) and self._world.state_of(row.pid or 0) != STOPPED

    def _exits_without_beats(self, row: Row) -> bool:
        """Whether it is stopping and sends no heartbeats meanwhile; then only its stage's timeout applies."""
        return row.is_asked_to_stop and not row.spec.runs_role_loop

    # ---- stopping

    def restart(self, name: str) -> Row:
        """Begin to drain the process and start a new one, or start a drained process; raises `LookupError`."""
        row = self._row(name)
        row.stays_down = False
        row.start_at = self._world.monotonic()
        self._request_exit(row)
        return row

    def drain(self, name: str) -> Row:
        """Begin to drain the process; only `restart` starts it again. Raises `LookupError`."""
        row = self._row(name)
        row.stays_down = True
        self._request_exit(row)
        return row

    def _request_exit(self, row: Row) -> None:
        if row.pid is None or self._stage is not None:
            return
        self._log.info("process_asked_to_leave", name=row.spec.name, pid=row.pid, stays_down=row.stays_down)
        row.is_asked_to_stop = True
        row.kill_at = self._world.monotonic() + self._exit_timeout_s(row)
        self._world.kill(row.pid, signal.SIGTERM)

    def _exit_timeout_s(self, row: Row) -> float:
        """The timeout of its stage in a stop of the whole system."""
        return next((stage.timeout_s for stage in self._stages if row.spec.role in stage.roles), 0.0)

    def _kill_overdue(self) -> None:
        now = self._world.monotonic()
        for row in self._living():
            if now >= row.kill_at:
                row.kill_at = now + KILL_AGAIN_S
                self._log.warning("drain_overdue", name=row.spec.name, pid=row.pid)
                self._kill(row)

    def _enter_stage(self, number: int) -> None:
        self._stage = number
        for row in self._in_stage():
            self._stage_ends_at = self._world.monotonic() + self._stages[number].timeout_s
            row.is_asked_to_stop = True
            self._world.kill(row.pid or 0, signal.SIGTERM)

    def _continue_drain(self) -> None:
        while self._stage is not None and self._stage < len(self._stages) and not self._in_stage():
            self._enter_stage(self._stage + 1)
        if self._stage == len(self._stages) and self._templates is not None:
            self._templates.stop()
        if self._world.monotonic() < self._stage_ends_at:
            return
        self._stage_ends_at += KILL_AGAIN_S
        for row in self._in_stage():
            self._log.warning("drain_overdue", name=row.spec.name, pid=row.pid)
            self._kill(row)

    def _end_at_once(self) -> None:
        """After a second stop, once no worker is left, or has taken too long."""
        if self._kill_all_at is None or self._stage == len(self._stages):
            return
        has_workers = any(row.spec.role == WORKER for row in self._living())
        if not has_workers or self._world.monotonic() >= self._kill_all_at:
            self.kill_all()

    def _in_stage(self) -> list[Row]:
        if self._stage is None or self._stage >= len(self._stages):
            return []
        return [row for row in self._living() if row.spec.role in self._stages[self._stage].roles]

    def _kill(self, row: Row) -> None:
        if row.pid is not None:
            self._world.kill(row.pid, signal.SIGKILL)

    # ---- requests

    def _answer(self, inbox: list[Envelope]) -> None:
        for envelope in inbox:
            if isinstance(envelope.message, Ready) and self._templates is not None:
                self._templates.note_ready(envelope.message.fd)
            if envelope.peer is not None and isinstance(envelope.message, Ping):
                envelope.peer.send(self._health())

    def roster(self) -> list[RosterRow]:
        """The rows of the supervisor itself, its processes and its templates."""
        now = self._world.monotonic()
        templates = self._templates.roster_rows(self._pid, now) if self._templates is not None else []
        state, since = ProcessState.RUNNING, self._started_at
        if self._stage is not None:
            state, since = ProcessState.STOPPING, self._stopping_since
        me = RosterRow(
            supervisor=self._pid, name=self._owner.process, role=SUPERVISOR, pid=self._pid, generation=1, state=state,
            since=since, started_at=self._started_at, restarts=0,
        )  # fmt: skip
        return [me, *(row.roster_row(self._pid, now) for row in self.rows), *templates]

    def _health(self) -> Message:
        """Control is left out, because jobs run without it. A drained process is healthy."""
        healthy = (ProcessState.RUNNING, ProcessState.DRAINED)
        down = [f"{row.spec.name} is {row.state}" for row in self.rows if row.state not in healthy and row.spec.role != CONTROL]
        if self._templates is not None and not self._templates.is_ready:
            down.append(self._templates.fault)
        if down:
            return Refused(code="unavailable", message=", ".join(down), retry_after_s=1)
        return as_json({"status": "healthy"})

    # ---- helpers

    def _row(self, name: str) -> Row:
        return {row.spec.name: row for row in self.rows}[name]

    def _living(self) -> list[Row]:
        return [row for row in self.rows if row.pid is not None]

    def _owner_of(self, row: Row) -> str:
        return str(self._owner._replace(process=row.spec.name, generation=row.generation))

    def _sleep_s(self) -> float:
        if not self._pending_deaths.has_no_orphans or (self._stage is None and not self._announced):
            return SHORT_SLEEP_S
        dues = [self._stage_ends_at] if self._in_stage() else []
        dues += [self._kill_all_at] if self._kill_all_at is not None else []
        if self._stage is None and any(not row.is_ready for row in self._living()):
            dues.append(self._world.monotonic() + RECHECK_S)
        dues += [row.kill_at for row in self._living()]
        if self._stage is None:
            dues += [row.start_at for row in self.rows if row.pid is None and not row.stays_down]
        now = self._world.monotonic()
        dues += [self._templates.due_at()] if self._templates is not None else []
        return min([LONGEST_SLEEP_S, *(max(0.0, due - now) for due in dues)])
