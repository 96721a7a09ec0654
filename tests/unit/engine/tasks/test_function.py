"""What a task function can do besides being called."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from jobyard import Client, Retry, current_job, task
from jobyard.engine.client.default import default_client, use_client
from jobyard.engine.tasks.context import executing
from tests.unit.engine.tasks.test_context import a_current_job

ID = "a" * 24


@task("unit.shout", timeout_s=60)
def shout(payload: Any) -> Any:
    """Louder."""
    return {"text": payload["text"].upper(), "attempt": current_job().attempt}


@task("unit.later")
async def later(payload: Any) -> Any:
    await asyncio.sleep(0)
    return [payload, current_job().retry_count]


@task("unit.picky")
def picky(payload: Any) -> Any:
    if current_job().attempt < 2:
        raise Retry(delay_s=5)
    return {1, 2} if payload is None else payload


class Sent:
    """Everything that a client sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        return httpx.Response(201, json={"job_id": ID})


@pytest.fixture
def sent() -> Iterator[Sent]:
    """The submissions of the test."""
    sent = Sent()
    with httpx.Client(transport=httpx.MockTransport(sent.answer)) as http:
        before = use_client(Client(http=http))
        yield sent
        use_client(before)


def test_it_is_submitted_by_its_name(sent: Sent) -> None:
    job_id = shout.submit({"text": "hello"}, delay_s=5, priority="high", idempotency_key="k")

    assert job_id == ID and shout.name == "unit.shout"
    assert sent.bodies == [
        {"idempotency_key": "k", "task": "unit.shout", "payload": {"text": "hello"}, "delay_s": 5, "priority": "high"}
    ]


def test_a_function_stands_for_its_name_wherever_a_task_is_asked_for(sent: Sent) -> None:
    default_client().submit(later, 1)

    assert sent.bodies[0]["task"] == "unit.later"


def test_one_function_may_be_two_tasks(sent: Sent) -> None:
    def measure(payload: Any) -> int:
        return len(payload)

    small, large = task("unit.small")(measure), task("unit.large")(measure)
    small.submit("a")
    large.submit("b")

    assert [body["task"] for body in sent.bodies] == ["unit.small", "unit.large"]


def test_the_chosen_client_stays_until_it_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBYARD_URL", "http://127.0.0.1:1")
    mine = Client()
    before = use_client(mine)
    assert default_client() is mine

    assert use_client(None) is mine and default_client()._address.url == "http://127.0.0.1:1"
    assert default_client() is default_client()
    use_client(before)


def test_inline_it_has_a_job_and_what_it_takes_and_gives_went_through_json() -> None:
    assert shout.run_inline({"text": "hello"}) == {"text": "HELLO", "attempt": 1}
    assert picky.run_inline({"a": (1, 2)}, attempt=3) == {"a": [1, 2]}
    assert later.run_inline(("a",), attempt=2) == [["a"], 1]
    with pytest.raises(RuntimeError):
        current_job()


def test_inline_it_raises_what_it_raises() -> None:
    with pytest.raises(Retry):
        picky.run_inline(1)
    with pytest.raises(KeyError):
        shout.run_inline({})
    with pytest.raises(TypeError, match="no JSON form"):
        picky.run_inline(None, attempt=2)


def test_inline_in_an_asynchronous_program_a_coroutine_runs_to_its_end() -> None:
    async def main() -> object:
        return later.run_inline(1)

    assert asyncio.run(main()) == [1, 0]


def test_a_task_within_a_task_does_not_take_its_job_away() -> None:
    outer = a_current_job([])

    with executing(outer):
        shout.run_inline({"text": "x"})

        assert current_job() is outer


def test_it_is_still_the_function_to_whoever_looks() -> None:
    assert (shout.__name__, shout.__doc__, shout.__module__) == ("shout", "Louder.", __name__)
    assert pickle.loads(pickle.dumps(shout)) is shout
    assert repr(shout).startswith("<task 'unit.shout': <function shout")
