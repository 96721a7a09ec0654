"""A delivery: what is signed and how, what is a success, and when it is tried again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from jobyard.engine.tasks.context import CurrentJob, Retry, Unrecoverable, executing
from jobyard.engine.tasks.webhook import deliver, key_of, new_secret, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
EXPECTED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class Receiver(HTTPServer):
    """Answers each request with the next of these statuses."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.received: list[tuple[dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """See `Receiver`."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers.items()), body))
        status, headers = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def receiving(*answers: tuple[int, dict[str, str]]) -> Iterator[Receiver]:
    receiver = Receiver(*answers)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        thread.join()
        receiver.server_close()


def send(receiver: Receiver, *, retry_count: int = 0, allow_private: bool = True, **more: Any) -> dict[str, int]:
    payload = {
        "event_id": MESSAGE, "event": {"type": "x", "data": "é"}, "secrets": [SECRET],
        "url": f"http://127.0.0.1:{receiver.server_port}/hook", **more,
    }  # fmt: skip
    job = CurrentJob(
        job_id="0" * 24, attempt=1, epoch=2, retry_count=retry_count, deadline=datetime.now(UTC), report=lambda *told: None
    )
    with executing(job):
        return deliver(payload, allow_private=allow_private)


def test_the_reference_vector_is_signed_as_it_says() -> None:
    assert signature([SECRET], message_id=MESSAGE, at_s=AT_S, body=BODY) == EXPECTED


def test_after_a_rotation_both_secrets_sign() -> None:
    both = signature([new_secret(), SECRET], message_id=MESSAGE, at_s=AT_S, body=BODY)

    assert both.split(" ")[1] == EXPECTED and len(both.split(" ")) == 2


@pytest.mark.parametrize(
    "wrong", ["", "whsec_", "whsec_***", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA", "whsec_" + "A" * 96]
)
def test_a_secret_has_24_to_64_bytes_in_base64(wrong: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes"):
        key_of(wrong)
    assert len(key_of(new_secret())) == 24


def test_what_arrives_can_be_checked_by_its_headers() -> None:
    with receiving((204, {})) as receiver:
        assert send(receiver, traceparent="00-1-2-3") == {"status": 204}

    ((headers, body),) = receiver.received
    at_s = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature([SECRET], message_id=MESSAGE, at_s=at_s, body=body)
    assert (headers["webhook-id"], headers["traceparent"]) == (MESSAGE, "00-1-2-3")
    assert body == '{"type":"x","data":"é"}'.encode()


@pytest.mark.parametrize(
    ("status", "headers", "retry_count", "delay_s"),
    [
        (500, {}, 0, 5), (500, {}, 1, 300), (503, {"Retry-After": "60"}, 0, 60), (503, {"Retry-After": "1"}, 0, 5),
        (429, {"Retry-After": "999999"}, 0, 86_400), (429, {"Retry-After": "soon"}, 8, 86_400),
        (302, {"Location": "http://127.0.0.1:9/"}, 0, 5), (404, {}, 2, 1_800),
    ],
)  # fmt: skip
def test_anything_but_a_success_is_tried_again_after_its_delay(
    status: int, headers: dict[str, str], retry_count: int, delay_s: float
) -> None:  # fmt: skip
    with receiving((status, headers)) as receiver, pytest.raises(Retry) as again:
        send(receiver, retry_count=retry_count)

    assert again.value.delay_s == delay_s and str(status) in str(again.value)
    assert len(receiver.received) == 1


def test_a_receiver_that_is_gone_ends_it() -> None:
    with receiving((410, {})) as receiver, pytest.raises(Unrecoverable, match="410 Gone"):
        send(receiver)


def test_nobody_there_is_tried_again_and_a_private_address_is_refused() -> None:
    with receiving() as receiver:
        pass

    with pytest.raises(Retry) as again:
        send(receiver)
    assert again.value.delay_s == 5
    with pytest.raises(Unrecoverable, match="not a public address"):
        send(receiver, allow_private=False)
