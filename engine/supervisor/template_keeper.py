"""Keeps one template running, replaces it on a reload or a hang, and has the executors of dead workers killed.

    IMPORTING ──Ready──▶ CURRENT ──a newer one is ready──▶ RETIRING ──its executors have ended──▶ exits
        │                   └── hangs: a new one is started; this one is killed when its executors have ended
        └── ImportFailed: the previous one stays; if there is none, retried after a pause

If the modules cannot be imported at the start, the start fails; later the system continues without a template, unhealthy.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jobyard.engine.control.snapshot import RosterRow
from jobyard.engine.logs import Log
from jobyard.engine.supervisor.file_watch import FileWatch
from jobyard.engine.supervisor.process_table import STABLE_AFTER_S, ProcessState, pause_after
from jobyard.engine.supervisor.role_loop import describe_exit
from jobyard.engine.supervisor.template_process import Spawn, TemplateProcess, TemplateState
from jobyard.engine.template.messages import Alive, EndWorker, ImportFailed, Importing, Ping, Ready, Retire, WorkerEnded
from jobyard.engine.wire.hub import Network
from jobyard.engine.world import World

NAME = "template"
SHOWN_STATES = {
    TemplateState.IMPORTING: ProcessState.STARTING, TemplateState.CURRENT: ProcessState.RUNNING,
    TemplateState.RETIRING: ProcessState.STOPPING,
}  # fmt: skip
IMPORT_S = 120.0
"""How long the import of the user's modules may take."""
PINGS_PER_HANG_S = 4
END_WORKER_S = 3.0
"""How long a template may take to kill the executors of a dead worker."""
LEAVE_S = 5.0
PUBLISH_AGAIN_S = 0.2

ReloadResult = Callable[[str | None], None]
"""Called with None when the new template has taken over, or with an error message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateHooks:
    """The keeper's callbacks: start a template, direct workers to it, ask whether it has executors, remove what an ended one left.

    `fault`: what is wrong with what the modules declare; such a template is not used.
    """

    spawn: Spawn
    publish: Callable[[TemplateProcess, Ready], None]
    living_executors: Callable[[int], bool]
    fault: Callable[[Ready], str | None] = lambda ready: None
    forget: Callable[[TemplateProcess], None] = lambda template: None


class TemplateKeeper:
    """See the module."""

    def __init__(
        self, *, hooks: TemplateHooks, network: Network, world: World, log: Log, hang_s: float, watches_files: bool = False
    ) -> None:  # fmt: skip
        self._hooks = hooks
        self._network = network
        self._world = world
        self._log = log
        self._hang_s = hang_s
        self._templates: list[TemplateProcess] = []
        self._started = 0
        self._start_at = world.monotonic()
        self._quick_deaths = self._restarts = 0
        self._last_words: str | None = None
        self._since: dict[str, tuple[str, float]] = {}
        self._reports: list[ReloadResult] = []
        self._wants_reload = False
        self._kill_at: float | None = None
        self._files = FileWatch(world) if watches_files else None
        self._watched: set[str] = set()
        self.has_begun = False
        self.failure: str | None = None

    # ---- interface
    @property
    def is_ready(self) -> bool:
        """Whether there is a template that can fork executors."""
        return self._current() is not None

    @property
    def is_empty(self) -> bool:
        """Whether no template is left."""
        return not self._templates

    @property
    def fault(self) -> str:
        """Why no executor can be forked, in one line."""
        return self.failure.split("\n")[0] if self.failure else f"{NAME} is {ProcessState.RESTARTING}"

    def pids(self) -> set[int]:
        """The pids of all templates."""
        return {template.pid for template in self._templates}

    def reload(self, report: ReloadResult | None = None) -> None:
        """Start a new template that imports the modules again; the current one serves until the new one is ready."""
        self._reports += [report] if report is not None else []
        self._wants_reload = True
        self._start_at = self._world.monotonic()
        for template in self._importing():
            self._kill(template)  # it may have read files before they changed
        self._start_due()

    def end_worker(self, owner: str) -> None:
        """Have the executors of a dead worker killed; see `is_clear_of`."""
        for template in self._templates:
            if template.state is not TemplateState.IMPORTING:
                template.owners[owner] = self._world.monotonic()
                template.send(EndWorker(owner=owner))

    def is_clear_of(self, owner: str) -> bool:
        """Whether no template has an executor of this dead worker left."""
        return not any(owner in template.owners for template in self._templates)

    def stop(self) -> None:
        """Retire all templates; called when all workers have ended."""
        if self._kill_at is None:
            self._kill_at = self._world.monotonic() + LEAVE_S
            for template in self._templates:
                template.send(Retire())
                if template.state is TemplateState.IMPORTING:
                    self._kill(template)

    def kill_all(self) -> None:
        """Kill all templates now."""
        self._kill_at = self._world.monotonic()
        for template in self._templates:
            self._kill(template)

    def roster_rows(self, supervisor: int, now: float) -> list[RosterRow]:
        """The templates' entries in the roster; the current template, or the first to come, has the name without a number."""
        main = self._current() or next(iter(self._importing()), None)
        others = [template for template in self._templates if template is not main]
        rows = [(NAME, main), *((f"{NAME}-{template.number}", template) for template in others)]
        entries = [self._row(supervisor, name, template, now) for name, template in rows]
        self._since = {row.name: (row.state, row.since) for row in entries}
        return entries

    # ---- events

    def note_ready(self, fd: int) -> None:
        """This descriptor is readable; it may belong to a template."""
        for template in self._templates:
            if fd == template.line.fileno():
                self._read(template)
            elif fd == template.output_fd:
                self._read_output(template)

    def note_death(self, pid: int, status: int) -> bool:
        """A child has ended; returns whether it was a template."""
        template = next((template for template in self._templates if template.pid == pid), None)
        if template is None:
            return False
        self._read(template)
        self._read_output(template, is_last=True)
        self._network.forget(template.line.fileno())
        self._network.forget(template.output_fd)
        template.close()
        self._hooks.forget(template)
        self._templates.remove(template)
        self._note_end(template, status)
        return True

    def tick(self, *, watching_since: float) -> None:
        """Start, ping, replace and kill what is due. `watching_since`: silence before this time does not count as a hang."""
        for template in list(self._templates):
            self._check(template, watching_since)
        if self._kill_at is not None:
            self._kill_overdue()
            return
        if self._files is not None and self._files.has_changed(self._watched):
            self._log.info("task_files_changed")
            self.reload()
        self._start_due()

    def due_at(self) -> float:
        """The monotonic time at which `tick` has something to do."""
        if self._kill_at is not None:
            return self._kill_at if self._templates else float("inf")
        dues = [self._start_at] if not self._importing() and (self._current() is None or self._wants_reload) else []
        dues += [self._world.monotonic() + PUBLISH_AGAIN_S for template in self._importing() if template.ready is not None]
        dues += [since + END_WORKER_S for template in self._templates for since in template.owners.values()]
        return min(dues, default=float("inf"))

    # ---- starting

    def _start_due(self) -> None:
        has_failed = self.failure is not None and not self.has_begun  # the start fails
        is_wanted = self._wants_reload or self._current() is None or all(template.is_hung for template in self._ready())
        if has_failed or not is_wanted or self._importing() or self._kill_at is not None:
            return
        if self._world.monotonic() < self._start_at:
            return
        self._wants_reload = False
        self._started += 1
        try:
            template = self._hooks.spawn(self._started)
        except OSError as fault:
            self._pause()
            self._log.error("template_not_started", reason=str(fault))
            return
        self._network.watch(template.line.fileno())
        self._network.watch(template.output_fd)
        self._templates.append(template)
        self._log.info("template_started", number=template.number, pid=template.pid)

    def _pause(self) -> None:
        self._quick_deaths += 1
        self._start_at = self._world.monotonic() + pause_after(self._quick_deaths)

    # ---- messages of a template

    def _read(self, template: TemplateProcess) -> None:
        for message in template.read():
            template.last_message_at, template.pinged_at = self._world.monotonic(), None
            match message:
                case Importing(module=module):
                    template.importing = module
                case Ready():
                    self._promote_unless_at_fault(template, message)
                case ImportFailed():
                    template.failure = message
                    self._watch_files(self._watched | set(message.files))
                case WorkerEnded(owner=owner):
                    template.owners.pop(owner, None)
                case Alive() if template.is_hung:
                    template.is_hung = False
                    self._log.info("template_answers_again", number=template.number)

    def _promote_unless_at_fault(self, template: TemplateProcess, ready: Ready) -> None:
        fault = self._hooks.fault(ready)
        if fault is None:
            template.ready = ready
            self._promote(template)
            return
        template.failure = ImportFailed(error=fault, traceback="", files=ready.files)
        self._watch_files(self._watched | set(ready.files))
        self._kill(template)

    def _promote(self, template: TemplateProcess) -> None:
        """Make it the current template, which forks new executors from now on; retried if it cannot be published."""
        ready = template.ready
        if ready is None or template.state is not TemplateState.IMPORTING:
            return
        try:
            self._hooks.publish(template, ready)
        except OSError as fault:  # disk full, or no descriptor is free
            self._log.error("template_not_published", number=template.number, reason=str(fault))
            return
        for warning in ready.warnings:
            self._log.warning("task_modules_warned", text=warning)
        for older in self._ready():
            older.state = TemplateState.RETIRING
            older.send(Retire())
        template.state = TemplateState.CURRENT
        self._watch_files(set(ready.files))
        imported_s = round(self._world.monotonic() - template.started_at, 3)
        self._log.info("template_ready", number=template.number, pid=template.pid, tasks=len(ready.tasks), imported_s=imported_s)
        self.has_begun, self.failure = True, None
        self._report(None)

    def _read_output(self, template: TemplateProcess, *, is_last: bool = False) -> None:
        lines = template.read_output(is_last=is_last)
        if lines is None:
            self._network.forget(template.output_fd)
        for text in lines or ():
            self._log.info("task_modules_output", text=text)

    # ---- the end of a template
    def _note_end(self, template: TemplateProcess, status: int) -> None:
        how = self._last_words = describe_exit(status)
        if template.state is TemplateState.IMPORTING:
            self._note_failure(template, how)
            return
        lived_s = round(self._world.monotonic() - template.started_at, 3)
        if template.state is TemplateState.RETIRING or self._kill_at is not None:
            self._log.info("template_retired", number=template.number, how=how, lived_s=lived_s)
            return
        self._log.warning("template_died", number=template.number, how=how, lived_s=lived_s)
        self._restarts += 1
        self._quick_deaths = 0 if lived_s >= STABLE_AFTER_S else self._quick_deaths
        self._pause()

    def _note_failure(self, template: TemplateProcess, how: str) -> None:
        if self._wants_reload or self._kill_at is not None:
            return  # it was killed in favour of a newer one, or because the system is stopping
        self._restarts += self.has_begun and self._current() is None
        failure = template.failure
        where = f" while it imported {template.importing}" if template.importing else ""
        error = failure.error if failure is not None else f"TASKS: the process that imports the modules ended with {how}{where}"
        if self.has_begun:  # otherwise the start fails, and reports it
            self._log.error("task_modules_not_imported", error=error, traceback=failure.traceback if failure is not None else None)
        self._pause()
        if self._current() is None:
            self.failure = error if failure is None else f"{error}\n{failure.traceback}"
        self._report(error)

    def _watch_files(self, files: set[str]) -> None:
        self._watched = files
        if self._files is not None:
            self._files.note(files)

    def _report(self, error: str | None) -> None:
        reports, self._reports = self._reports, []
        for report in reports:
            report(error)

    # ---- hanging

    def _check(self, template: TemplateProcess, watching_since: float) -> None:
        now = self._world.monotonic()
        since = max(template.pinged_at or template.last_message_at, watching_since)
        self._promote(template)
        if template.state is TemplateState.IMPORTING:
            if now - max(template.started_at, watching_since) > IMPORT_S:
                self._log.error("import_overdue", module=template.importing, after_s=IMPORT_S)
                self._kill(template)
        elif template.pinged_at is None:
            if now - template.last_message_at > self._hang_s / PINGS_PER_HANG_S:
                template.pinged_at = now
                template.send(Ping())
        elif now - since > self._hang_s and not template.is_hung:
            template.is_hung = True
            self._restarts += 1
            self._log.warning("template_hung", number=template.number, pid=template.pid, silent_s=round(now - since, 3))
        if any(now - max(asked_at, watching_since) > END_WORKER_S for asked_at in template.owners.values()):
            self._log.warning("template_does_not_end_executors", number=template.number, pid=template.pid)
            self._kill(template)
        elif template.is_hung and template is not self._current() and not self._hooks.living_executors(template.pid):
            self._kill(template)

    def _kill_overdue(self) -> None:
        if self._kill_at is not None and self._world.monotonic() >= self._kill_at:
            for template in self._templates:
                self._kill(template)

    def _kill(self, template: TemplateProcess) -> None:
        self._world.kill(template.pid, signal.SIGKILL)

    # ---- helpers

    def _ready(self) -> Iterator[TemplateProcess]:
        return (template for template in self._templates if template.state is TemplateState.CURRENT)

    def _current(self) -> TemplateProcess | None:
        return next(self._ready(), None)

    def _importing(self) -> list[TemplateProcess]:
        return [template for template in self._templates if template.state is TemplateState.IMPORTING]

    def _row(self, supervisor: int, name: str, template: TemplateProcess | None, now: float) -> RosterRow:
        state = ProcessState.RESTARTING if self.has_begun else ProcessState.STARTING
        if template is not None:
            state = SHOWN_STATES[template.state]
        known, since = self._since.get(name, (None, now))
        return RosterRow(
            supervisor=supervisor, name=name, role=NAME, pid=template.pid if template is not None else None,
            generation=template.number if template is not None else self._started, state=state,
            since=since if known == state else now, started_at=template.started_at if template is not None else 0.0,
            restarts=self._restarts, last_words=self._last_words,
            silent_since=template.last_message_at if template is not None and template.is_hung else None,
        )  # fmt: skip
