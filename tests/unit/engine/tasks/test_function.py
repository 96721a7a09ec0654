"""What a task function offers besides being called."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
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
    """The requests that a client sent."""

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


def test_submit_sends_the_tasks_name(sent: Sent) -> None:
    job_id = shout.submit({"text": "hello"}, delay_s=5, priority="high", idempotency_key="k")

    assert job_id == ID and shout.name == "unit.shout"
    assert sent.bodies == [
        {"idempotency_key": "k", "task": "unit.shout", "payload": {"text": "hello"}, "delay_s": 5, "priority": "high"}
    ]


def test_a_client_accepts_a_task_function_instead_of_its_name(sent: Sent) -> None:
    default_client().submit(later, 1)

    assert sent.bodies[0]["task"] == "unit.later"


@task("unit.resize")
def resize(*, path: Path, width: int = 100) -> str:
    return f"{path.name} {width} {current_job().attempt}"


@task("unit.nothing")
def nothing() -> int:
    return current_job().attempt


def test_keyword_only_parameters_are_the_payload(sent: Sent) -> None:
    resize.submit(path=Path("a.png"), width=50)
    resize.options(priority="high", delay_s=60).options(delay_s=5).submit(path=Path("b.png"))
    default_client().submit(resize, path=Path("c.png"))
    default_client().submit(resize.options(queue="q"), path=Path("d.png"))
    default_client().submit(resize, {"path": "e.png"}, queue="q")

    assert [{name: value for name, value in body.items() if name != "idempotency_key"} for body in sent.bodies] == [
        {"task": "unit.resize", "payload": {"path": "a.png", "width": 50}},
        {"task": "unit.resize", "payload": {"path": "b.png"}, "priority": "high", "delay_s": 5},
        {"task": "unit.resize", "payload": {"path": "c.png"}},
        {"task": "unit.resize", "payload": {"path": "d.png"}, "queue": "q"},
        {"task": "unit.resize", "payload": {"path": "e.png"}, "queue": "q"},
    ]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "path: missing"), ({"path": "a", "widht": 1}, "widht: unknown"), ({"path": "a", "width": "50"}, "width: expected int"),
        ({"path": "a", "priority": "high"}, "priority: unknown"), ({"path": {1}}, "arguments.path: set has no JSON form"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(sent: Sent, wrong: dict[str, Any], words: str) -> None:
    for submit in (
        lambda: resize.submit(**wrong), lambda: resize.options(queue="q").submit(**wrong), lambda: resize.submit_many([wrong]),
        lambda: default_client().submit(resize, **wrong),
        lambda: default_client().submit_many([{"task": resize, "payload": wrong}]),
        lambda: asyncio.run(resize.submit_async(**wrong)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=words):
            submit()

    assert sent.bodies == []


def test_a_task_without_parameters_is_submitted_without_a_payload(sent: Sent) -> None:
    nothing.submit(queue="q")
    nothing.options(delay_s=1).submit()

    assert [(body["payload"], body.get("queue"), body.get("delay_s")) for body in sent.bodies] == [
        (None, "q", None), (None, None, 1),
    ]  # fmt: skip


def test_a_payload_may_be_given_by_its_parameters_name_but_once(sent: Sent) -> None:
    shout.submit(payload={"text": "a"}, queue="q")

    assert (sent.bodies[0]["payload"], sent.bodies[0]["queue"]) == ({"text": "a"}, "q")
    with pytest.raises(TypeError, match="takes one payload, but 2"):
        shout.submit(1, 2)
    with pytest.raises(TypeError, match="takes one payload, but 2"):
        default_client().submit("unit.shout", 1, 2)  # type: ignore[call-overload]


def test_a_submission_gives_a_handle_that_is_the_id(sent: Sent) -> None:
    handle = shout.submit(1)

    assert handle == ID and {handle: 1}[ID] and json.dumps([handle]) == f'["{ID}"]' and isinstance(handle, str)
    assert pickle.loads(pickle.dumps(handle)) == handle and not handle.existing


def test_values_that_json_lacks_become_text(sent: Sent) -> None:
    shout.submit({"at": datetime(2026, 1, 4, tzinfo=UTC), "path": Path("x")})

    assert sent.bodies[0]["payload"] == {"at": "2026-01-04T00:00:00Z", "path": "x"}


def test_inline_keyword_only_parameters_are_converted() -> None:
    assert resize.run_inline(path=Path("x/a.png")) == "a.png 100 1"
    assert resize.run_inline({"path": "x/a.png", "width": 5}, attempt=3) == "a.png 5 3"
    assert nothing.run_inline() == 1
    with pytest.raises(TypeError, match="width: expected int"):
        resize.run_inline(path=Path("x"), width="5")  # type: ignore[call-overload]


def test_one_function_can_be_registered_as_two_tasks(sent: Sent) -> None:
    def measure(payload: Any) -> int:
        return len(payload)

    small, large = task("unit.small")(measure), task("unit.large")(measure)
    small.submit("a")
    large.submit("b")

    assert [body["task"] for body in sent.bodies] == ["unit.small", "unit.large"]


def test_use_client_applies_until_it_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBYARD_URL", "http://127.0.0.1:1")
    mine = Client()
    before = use_client(mine)
    assert default_client() is mine

    assert use_client(None) is mine and default_client()._address.url == "http://127.0.0.1:1"
    assert default_client() is default_client()
    use_client(before)


def test_run_inline_sets_the_current_job_and_passes_payload_and_result_through_json() -> None:
    assert shout.run_inline({"text": "hello"}) == {"text": "HELLO", "attempt": 1}
    assert picky.run_inline({"a": (1, 2)}, attempt=3) == {"a": [1, 2]}
    assert later.run_inline(("a",), attempt=2) == [["a"], 1]
    with pytest.raises(RuntimeError):
        current_job()


def test_run_inline_raises_the_tasks_exception() -> None:
    with pytest.raises(Retry):
        picky.run_inline(1)
    with pytest.raises(KeyError):
        shout.run_inline({})
    with pytest.raises(TypeError, match="no JSON form"):
        picky.run_inline(None, attempt=2)


def test_run_inline_completes_a_coroutine_inside_a_running_event_loop() -> None:
    async def main() -> object:
        return later.run_inline(1)

    assert asyncio.run(main()) == [1, 0]


def test_the_current_job_is_restored_after_a_nested_inline_task() -> None:
    outer = a_current_job([])

    with executing(outer):
        shout.run_inline({"text": "x"})

        assert current_job() is outer


def test_a_task_function_has_the_attributes_of_the_function() -> None:
    assert (shout.__name__, shout.__doc__, shout.__module__) == ("shout", "Louder.", __name__)
    assert pickle.loads(pickle.dumps(shout)) is shout
    assert repr(shout).startswith("<task 'unit.shout': <function shout")
