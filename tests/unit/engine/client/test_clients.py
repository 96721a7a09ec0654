"""The two clients give the same results; tested with httpx, without a network."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest

from jobyard import AsyncClient, Client
from jobyard.engine.errors import NotFound, Unauthorized, Unreachable
from jobyard.engine.jobs.job import to_json
from jobyard.engine.world import World
from tests.support.builders import a_job

ID = "a" * 24
URL = "http://jobs.test/base/"
Answer = Callable[[httpx.Request], httpx.Response]


class Service:
    """Records the requests; answers from a list of responses and failures."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class EitherClient:
    """One of the two clients, behind the same interface."""

    def __init__(self, kind: str, service: Service, **more: Any) -> None:
        transport = httpx.MockTransport(service.answer)
        http: Any = httpx.Client(transport=transport) if kind == "sync" else httpx.AsyncClient(transport=transport)
        self.client: Any = (Client if kind == "sync" else AsyncClient)(URL, http=http, **more)
        self.kind = kind

    def ask(self, name: str, *args: object, **options: object) -> Any:
        """The result of the method."""
        if self.kind == "sync":
            given = getattr(self.client, name)(*args, **options)
            return list(given) if inspect.isgenerator(given) else given
        return anyio.run(self._ask, name, args, options)

    async def _ask(self, name: str, args: tuple[object, ...], options: dict[str, object]) -> Any:
        given = getattr(self.client, name)(*args, **options)
        return [job async for job in given] if inspect.isasyncgen(given) else await given


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def job_answer(**fields: object) -> httpx.Response:
    return httpx.Response(200, content=to_json(a_job(job_id=ID, **fields)))


def test_a_request_carries_the_token_and_the_path_below_the_url(kind: str) -> None:
    service = Service(httpx.Response(201, json={"job_id": ID}))

    job_id = EitherClient(kind, service, token="secret").ask("submit", "resize", {"a": 1}, priority="high")

    [request] = service.requests
    body = json.loads(request.content)
    assert job_id == ID and str(request.url) == "http://jobs.test/base/api/jobs"
    assert (request.headers["authorization"], request.headers["content-type"]) == ("Bearer secret", "application/json")
    assert (body["task"], body["payload"], body["priority"]) == ("resize", {"a": 1}, "high")


@pytest.mark.parametrize(
    ("method", "answers", "path"),
    [
        ("get", [job_answer], f"GET /base/api/jobs/{ID}"),
        ("executions", [lambda: httpx.Response(200, json=[])], f"GET /base/api/jobs/{ID}/executions"),
        ("wait", [job_answer, lambda: job_answer(status="completed")], f"GET /base/api/jobs/{ID}"),
        ("cancel", [job_answer], f"POST /base/api/jobs/{ID}/cancel"),
        ("retry", [job_answer, job_answer], f"POST /base/api/jobs/{ID}/retry"),
    ],
)
def test_a_method_sends_its_request(kind: str, method: str, answers: list[Callable[[], httpx.Response]], path: str) -> None:
    service = Service(*(answer() for answer in answers))

    EitherClient(kind, service).ask(method, ID)

    assert f"{service.requests[-1].method} {service.requests[-1].url.path}" == path and service.answers == []


def test_ask_pages_fetches_page_after_page(kind: str) -> None:
    link = {"Link": '</base/api/jobs?limit=1&cursor=c>; rel="next"'}
    service = Service(httpx.Response(200, json=[1], headers=link), httpx.Response(200, json=[2]))

    assert EitherClient(kind, service).ask("ask_pages", "/api/jobs?limit=1") == [[1], [2]]
    assert [request.url.raw_path.decode() for request in service.requests] == [
        "/base/api/jobs?limit=1", "/base/api/jobs?limit=1&cursor=c",
    ]  # fmt: skip


def test_pauses_and_retries_are_performed(kind: str) -> None:
    cut = httpx.ReadError("reset")
    busy = httpx.Response(503, json={"error": {"code": "overloaded", "message": "no", "field": None}})
    service = Service(cut, busy, httpx.Response(200, json={"jobs": {}}))

    assert EitherClient(kind, service).ask("stats") == {"jobs": {}}


@pytest.mark.parametrize(
    ("failure", "was_sent"),
    [(httpx.ConnectError("refused"), False), (httpx.ConnectTimeout(""), False), (httpx.ReadTimeout(""), True),
     (httpx.RemoteProtocolError("cut"), True), (httpx.WriteError("reset"), True)],
)  # fmt: skip
def test_a_failure_says_whether_the_request_was_sent(kind: str, failure: Exception, was_sent: bool) -> None:
    service = Service(failure)

    with pytest.raises(Unreachable, match="no answer from http://jobs.test/base/: .+") as raised:
        EitherClient(kind, service, retry_s=0).ask("stats")

    assert raised.value.was_sent is was_sent and len(service.requests) == 1


def test_many_jobs_are_sent_in_chunks(kind: str) -> None:
    service = Service(httpx.Response(201, json={"job_ids": [ID, ID]}), httpx.Response(201, json={"job_ids": ["b" * 24]}))

    ids = EitherClient(kind, service).ask("submit_many", ({"payload": number} for number in range(3)), chunk=2, idempotency_key="k")

    keys = [job["idempotency_key"] for request in service.requests for job in json.loads(request.content)["jobs"]]
    assert (ids, keys) == ([ID, ID, "b" * 24], ["k-0", "k-1", "k-2"])


def test_a_list_covers_all_pages(kind: str) -> None:
    next_page = {"Link": '</jobs?cursor=x&limit=1>; rel="next"'}
    jobs = [to_json(a_job(payload=b"1")), to_json(a_job(payload=b"2"))]
    service = Service(
        httpx.Response(200, content=b"[" + jobs[0] + b"]", headers=next_page), httpx.Response(200, content=b"[" + jobs[1] + b"]")
    )

    found = EitherClient(kind, service).ask("iter_jobs", status="pending", page=1)

    assert [job.payload for job in found] == [1, 2]
    assert [request.url.query for request in service.requests] == [b"status=pending&limit=1", b"cursor=x&limit=1"]


def test_health_and_errors_are_returned(kind: str) -> None:
    refused = {"error": {"code": "unauthorized", "message": "no", "field": None}}
    healthy = {"status": "healthy", "components": {}}
    either = EitherClient(kind, Service(httpx.Response(200, json=healthy), httpx.Response(401, json=refused)))

    assert either.ask("health").is_healthy
    with pytest.raises(Unauthorized):
        either.ask("get", ID)


def test_jobs_may_come_from_an_asynchronous_iterable() -> None:
    async def source() -> AsyncIterator[dict[str, object]]:
        yield {"payload": 1}

    service = Service(httpx.Response(201, json={"job_ids": [ID]}))

    assert EitherClient("async", service).ask("submit_many", source()) == [ID]


def test_the_two_clients_have_the_same_methods_and_parameters() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") and name not in ("close", "aclose")
        }

    assert public(Client) == public(AsyncClient) and len(public(Client)) == 14


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a?x=1", "http://a:port", 1])
def test_an_invalid_url_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="url"):
        Client(url)


@pytest.mark.parametrize(("token", "words"), [("a\nb", "token"), ("", "token"), ("ä", "token")])
def test_an_invalid_token_is_refused_without_being_shown(token: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        Client(token=token)

    assert not token or token not in str(raised.value)


def test_a_forked_child_has_its_own_connections() -> None:
    client = Client("http://127.0.0.1:1", retry_s=0)
    mine = client._http()

    def child() -> int:
        return 0 if client._http() is not mine and client._http() is client._http() else 1

    world = World()
    assert world.wait(world.fork(child)) == 0 and client._http() is mine
    client.close()


@pytest.mark.parametrize(
    ("imported", "absent"), [("jobyard", {"httpx", "asyncio"}), ("jobyard.api.start.main", {"httpx", "jobyard.engine.client"})]
)
def test_the_client_is_imported_only_when_it_is_used(imported: str, absent: set[str]) -> None:
    code = f"import sys, {imported}; sys.exit(bool({absent} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


@pytest.mark.parametrize("package", ["httpx", "anyio", "msgspec"])
@pytest.mark.parametrize("use", ["from jobyard import Client", "from jobyard import task; task('x')(lambda payload: 1).submit(1)"])
def test_a_package_that_the_client_lacks_is_reported_with_its_remedy(package: str, use: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; {use}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    remedy = f"{sys.executable} -m pip install httpx anyio msgspec"
    assert ended.stderr.splitlines()[-1] == f"ImportError: the client needs {package}, which is not installed here: {remedy}"


def test_an_http_client_that_was_passed_in_is_not_closed() -> None:
    http = httpx.Client(transport=httpx.MockTransport(Service(httpx.Response(404, json={"error": {"code": "not_found"}})).answer))

    with Client(http=http) as client, pytest.raises(NotFound):
        client.get(ID)

    assert not http.is_closed
    http.close()


def test_the_async_clients_own_connections_are_closed() -> None:
    async def main() -> None:
        async with AsyncClient("http://127.0.0.1:1", retry_s=0) as client:
            with pytest.raises(Unreachable):
                await client.get(ID)
        assert client._http.is_closed

    anyio.run(main)
