"""Stores and shows the tasks that HTTP workers run, and knows which tasks there are.

A task that a module defines takes the place of one that was declared by the same name. The declared ones are read again before
each use where there are any, and whenever a name is unknown (`learn`); so who declares none pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import Conflict, InvalidRequest, NotFound, changing_too_quickly
from jobyard.engine.jobs.limit_field import name_of
from jobyard.engine.leases import declared_tasks
from jobyard.engine.logs import Log
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import read_declared
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.tasks.webhook import NAME as WEBHOOK
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.lease_messages import DeclareTask, DeleteTask
from jobyard.engine.wire.messages import Json

GUARD_TRIES = 20


class DeclaredTasks:
    """As one process knows them. `python_tasks`: those of the task modules of all hosts."""

    def __init__(
        self, *, settings: Settings, store: Store, log: Log, python_tasks: Callable[[], Mapping[str, TaskOptions]]
    ) -> None:  # fmt: skip
        self._settings = settings
        self._store = store
        self._log = log
        self._python_tasks = python_tasks
        self._known: dict[str, TaskOptions] = {}
        self._taken_over: set[str] = set()

    def all(self) -> Mapping[str, TaskOptions]:
        """Every task that is known, with its options."""
        if self._known:
            self.learn()
        return {**self._known, **self._python_tasks()}

    def is_declared(self, name: str) -> bool:
        """Whether HTTP workers run this task, as far as is known."""
        return name in self._known and not self.is_python(name)

    def is_python(self, name: str) -> bool:
        """Whether Jobyard's own workers run this task."""
        return name in self._python_tasks()

    def put(self, message: DeclareTask) -> Json:
        """Declare a task, or change it; the same again changes nothing."""
        name = declared_tasks.check_name(message.name)
        options = declared_tasks.parse(message.body)
        if name in self._python_tasks():
            raise Conflict("conflict", f"{name} is a task of a task module, which Jobyard's own workers run", "name")
        for part in options.get("limit") or ():
            if (limit := name_of(part)) and self._store.limits.find(limit) is None:
                raise InvalidRequest("unknown_limit", f"there is no limit {limit}; make it with PUT /api/limits/{limit}", "limit")
        body = msgspec.json.encode(options)
        for _ in range(GUARD_TRIES):
            stored = self._store.http_tasks.find(name)
            if stored is not None and stored.body == body:
                return self._shown(name, options, 200)
            version, was = (1, None) if stored is None else (stored.version + 1, stored.version)
            if self._store.http_tasks.save(NamedRow(name, version, body), was=was):
                self.learn()
                self._log.info("task_declared", task=name, request_id=message.request_id)
                return self._shown(name, options, 201 if was is None else 200)
        raise changing_too_quickly(f"task {name}")

    def delete(self, message: DeleteTask) -> Json:
        """Remove a task, none of whose jobs lives."""
        name = declared_tasks.check_name(message.name)
        if not self._store.http_tasks.delete(name):
            if self._store.http_tasks.find(name) is None:
                raise NotFound("not_found", f"no task {name} was declared by PUT /api/tasks/{name}", "name")
            raise Conflict("conflict", f"jobs of the task {name} have not ended: cancel them, or wait for their end", "name")
        self.learn()
        self._log.info("task_deleted", task=name, request_id=message.request_id)
        return Json(body=b"", status=204)

    def rows(self) -> list[dict[str, Any]]:
        """Every task that jobs can be submitted for as it is shown, by name."""
        self.learn()
        tasks, python_tasks = self.all(), self._python_tasks()
        return [self._row(name, tasks[name], name in python_tasks) for name in sorted(tasks) if name != WEBHOOK]

    def _shown(self, name: str, options: dict[str, Any], status: int) -> Json:
        return as_json(self._row(name, TaskOptions(**options), False), status)

    def _row(self, name: str, options: TaskOptions, is_python: bool) -> dict[str, Any]:
        settings = self._settings
        return {
            "task": name, "max_retries": settings.max_retries if options.max_retries is None else options.max_retries,
            "timeout_s": settings.job_timeout_s if options.timeout_s is None else options.timeout_s,
            "parameters": options.parameters, "origin": declared_tasks.CODE if is_python else declared_tasks.API,
            **({} if is_python or options.unique is None else {"unique": options.unique}),
            **({} if is_python or options.limit is None else {"limit": options.limit}),
        }  # fmt: skip

    def learn(self) -> None:
        """Read what has been declared."""
        self._known = read_declared(self._store.http_tasks.all())
        for name in self._known.keys() & self._python_tasks().keys() - self._taken_over:
            self._taken_over.add(name)
            self._log.warning("task_taken_over", task=name, reason="a task module defines it: Jobyard's own workers run its jobs")
