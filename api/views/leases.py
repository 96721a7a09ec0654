"""The requests of HTTP workers. A scheduler reads their bodies and answers them; one that waits for jobs holds no thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flask import request

from jobyard.api.http.body import JSON, media_type, read_body
from jobyard.api.http.query import read_job_id, read_query
from jobyard.api.http.reply import HEADERS, Reply, json_reply, message_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.api.http.waiting import wait_for_lease
from jobyard.engine.errors import Unavailable
from jobyard.engine.leases.requests import Do
from jobyard.engine.wire.lease_messages import DeclareTask, DeleteTask, JobsLeased, LeaseJobs, ReturnLeases, SettleLeases
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json

NO_CONTENT = 204


class SchedulerClient(Protocol):
    """The way to a scheduler."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Leases:
    """The views."""

    def __init__(self, scheduler: SchedulerClient, is_client_gone: Callable[[], bool] = lambda: False) -> None:
        """`is_client_gone`: whether the client whose request this thread serves has disconnected."""
        self._scheduler = scheduler
        self._is_client_gone = is_client_gone

    def create(self) -> Reply:
        """Lease what is due; wait for the first job if the worker wants to and there is none."""
        body = _body()
        answer = self._scheduler.send(LeaseJobs(body=body, request_id=request_id_of(request.environ)))
        if not isinstance(answer, JobsLeased):
            return message_reply(answer)
        if answer.tokens and self._is_client_gone():
            self._scheduler.send(ReturnLeases(tokens=answer.tokens))
            raise Unavailable("unavailable", "the client has disconnected")
        if not answer.tokens and answer.wait_s:
            wait_for_lease(request.environ, body, answer.wait_s)
        return json_reply(answer.body)

    def settle(self) -> Reply:
        """What a worker tells of many jobs."""
        return self._tell(None)

    def extend(self, job_id: str) -> Reply:
        """Keep a lease."""
        return self._tell(Do.EXTEND, job_id)

    def complete(self, job_id: str) -> Reply:
        """The job is done."""
        return self._tell(Do.COMPLETE, job_id)

    def fail(self, job_id: str) -> Reply:
        """The attempt failed."""
        return self._tell(Do.FAIL, job_id)

    def release(self, job_id: str) -> Reply:
        """Give a job back."""
        return self._tell(Do.RELEASE, job_id)

    def declare(self, task: str) -> Reply:
        """Declare a task that HTTP workers run."""
        read_query(request, ())
        body = read_body(request.environ, may_be_empty=True)
        if body:
            media_type(request.environ, (JSON,))
        return message_reply(self._scheduler.send(DeclareTask(name=task, body=body, request_id=request_id_of(request.environ))))

    def remove(self, task: str) -> Reply:
        """Remove such a task."""
        read_query(request, ())
        answer = self._scheduler.send(DeleteTask(name=task, request_id=request_id_of(request.environ)))
        if isinstance(answer, Json) and answer.status == NO_CONTENT:
            return Reply(b"", NO_CONTENT, HEADERS)
        return message_reply(answer)

    def _tell(self, do: Do | None, job_id: str = "") -> Reply:
        checked_id = read_job_id(job_id) if do is not None else ""
        told = SettleLeases(do=do, job_id=checked_id, body=_body(), request_id=request_id_of(request.environ))
        return message_reply(self._scheduler.send(told))


def _body() -> bytes:
    read_query(request, ())
    media_type(request.environ, (JSON,))
    return read_body(request.environ)
