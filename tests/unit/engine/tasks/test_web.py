"""The built-in `http` task: requests, responses, and blocked addresses."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from jobyard import Unrecoverable
from jobyard.engine.tasks.web import send_request
from tests.support.waiting import LIMIT_S


def is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(end) and len(body) == int(length[1] if length else 0)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that gives one response, and returns its address; `serve.seen` holds what it received."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []
    threads: list[threading.Thread] = []

    def answer(*pieces: bytes) -> str:
        def once() -> None:
            peer, _ = listener.accept()
            with peer:
                request = b""
                while not is_whole(request):
                    request += peer.recv(65536)
                seen.append(request)
                for piece in pieces:
                    peer.sendall(piece)

        threads.append(threading.Thread(target=once))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/there?a=1"

    answer.seen = seen  # type: ignore[attr-defined]
    yield answer
    for thread in threads:
        thread.join(LIMIT_S)
    listener.close()


def test_a_2xx_response_is_the_result(serve: Callable[..., str]) -> None:
    url = serve(b"HTTP/1.1 201 Created\r\nX-Mark: yes\r\nContent-Length: 5\r\n\r\nh\xc3\xa9llo")

    answer = send_request({"url": url, "body": {"n": 1}, "headers": {"X-Mine": "1"}}, allow_private=True)

    assert (answer["status"], answer["headers"]["X-Mark"], answer["body"]) == (201, "yes", "héll")
    (request,) = serve.seen  # type: ignore[attr-defined]
    assert request.startswith(b"POST /there?a=1 HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in request and b"X-Mine: 1" in request and request.endswith(b'{"n": 1}')


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oh", "301 Moved\r\nLocation: http://127.0.0.1:1/"])
def test_any_other_status_is_a_failure_that_names_it(serve: Callable[..., str], status: str) -> None:
    url = serve(f"HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nwhy".encode())

    with pytest.raises(RuntimeError, match=f"answered {status[:3]} .*: why"):
        send_request({"url": url}, allow_private=True)


def test_a_large_response_is_truncated(serve: Callable[..., str]) -> None:
    url = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b"x" * 900_000)

    answer = send_request({"url": url}, allow_private=True)

    assert len(answer["body"]) == 64 << 10


def test_a_response_may_end_with_the_connection(serve: Callable[..., str]) -> None:
    url = serve(b"HTTP/1.0 200 OK\r\n\r\n", b"one ", b"two")

    assert send_request({"url": url}, allow_private=True)["body"] == "one two"


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), (b"", b"H"),
    ],
    ids=["head", "100 Continue", "body", "chunks", "status line"],
)  # fmt: skip
def test_timeout_s_limits_a_dripping_response_as_a_whole(begin: bytes, drip: bytes) -> None:
    enough = threading.Event()

    def feed() -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(begin)
            while not enough.wait(0.01):
                peer.sendall(drip)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            with pytest.raises((TimeoutError, http.client.HTTPException)):
                send_request({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/", "timeout_s": 0.3}, allow_private=True)
        finally:
            enough.set()
            feeder.join(LIMIT_S)


def test_timeout_s_limits_an_endless_response() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        send_request({"url": url, "timeout_s": 0.05}, allow_private=True)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "[::1]", "[::]", "[fe80::1]", "[fc00::1]",
     "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::]", "224.0.0.1", "100.64.0.1",
     "240.0.0.1", "2130706433", "0x7f.1", "127.1", "[fec0::1]", "[feff::1]", "[64:ff9b:1::7f00:1]", "[2001:db8::1]"],
)  # fmt: skip
def test_a_private_address_in_any_form_is_refused(host: str) -> None:
    with pytest.raises(Unrecoverable, match="not a public address"):
        send_request({"url": f"http://{host}/"}, allow_private=False)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "169.254.170.2", "169.254.170.23",
     "[fd00:ec2::23]", "[fd20:ce::254]", "168.63.129.16", "192.0.0.192", "100.100.100.200", "[fe80::a9fe:a9fe]", "169.254.0.23"],
)  # fmt: skip
def test_a_metadata_service_is_refused_even_where_private_addresses_are_allowed(host: str) -> None:
    with pytest.raises(Unrecoverable, match="not a public address"):
        send_request({"url": f"http://{host}/latest"}, allow_private=True)


@pytest.mark.parametrize(
    "payload",
    [
        None, [], {}, {"url": 1}, {"url": "ftp://a/"}, {"url": "file:///etc/passwd"}, {"url": "http://"}, {"url": "http://["},
        {"url": "http://127.0.0.1:99999/"}, {"url": "http://me:secret@127.0.0.1/"}, {"url": "http://127.0.0.1/", "methods": "GET"},
        {"url": "http://127.0.0.1/", "method": "CONNECT"}, {"url": "http://127.0.0.1/", "headers": {"a": 1}},
        {"url": "http://127.0.0.1/", "timeout_s": 0}, {"url": "http://127.0.0.1/", "timeout_s": True},
    ],
)  # fmt: skip
def test_an_invalid_payload_is_unrecoverable(payload: object) -> None:
    with pytest.raises(Unrecoverable):
        send_request(payload, allow_private=True)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"a b": "c"}, {"X\r\nY": "b"}, {"": "b"}, {"X:": "b"}])
def test_a_header_cannot_inject_another(headers: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Unrecoverable):
        send_request({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/", "headers": headers}, allow_private=True)


def test_a_refused_connection_can_be_retried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        send_request({"url": f"http://127.0.0.1:{port}/"}, allow_private=True)
