"""Events as lines: one a line whatever is in them, whole whatever their length, and nobody waits for their reader."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobyard.engine.jobs.job import Status
from jobyard.engine.logs import LEVELS, MAX_LINE_BYTES, Log
from tests.support.world import FakeWorld


class Pipe:
    """What is logged into it."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK)

    def log(self, **asked: str) -> Log:
        return Log(FakeWorld(), process="worker-7001", fd=self.write_fd, **asked)

    def read(self) -> bytes:
        try:
            return os.read(self.read_fd, 1 << 20)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_an_event_is_a_line_of_text(pipe: Pipe) -> None:
    pipe.log().info("job_begun", job_id="6954", attempt=1, status=Status.RUNNING, words="two words")

    assert pipe.read() == (
        b'2026-01-04T02:04:20.123Z info    worker-7001    job_begun job_id=6954 attempt=1 status=running words="two words"\n'
    )


def test_an_event_is_an_object_of_json(pipe: Pipe) -> None:
    pipe.log(form="json").warning("job_begun", job_id="6954", attempt=1, share=0.5, done=True, nothing=None, status=Status.RUNNING)

    assert json.loads(pipe.read()) == {
        "at": "2026-01-04T02:04:20.123Z", "level": "warning", "process": "worker-7001", "event": "job_begun", "job_id": "6954",
        "attempt": 1, "share": 0.5, "done": True, "nothing": None, "status": "running",
    }  # fmt: skip


@pytest.mark.parametrize("least", range(4))
def test_what_is_below_the_level_is_not_written(pipe: Pipe, least: int) -> None:
    log = pipe.log(level=LEVELS[least])

    for level in LEVELS:
        getattr(log, level)("happened")

    assert pipe.read().count(b"\n") == 4 - least


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("forged", ["a\nb", "a\r\nb", "\x1b[2J", "\x9b2J", "\u2028", "\u202e", "\x00", "\ud800", '"', "\\", ""])
def test_no_value_can_forge_a_line_or_steer_a_terminal(pipe: Pipe, form: str, forged: str) -> None:
    pipe.log(form=form).info("happened", text=forged, after=1)

    line = pipe.read()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert line[:-1].decode("ascii").isprintable()
    assert b"after" in line


_values = st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.binary(max_size=9000)
_texts = st.text(st.characters(), max_size=3000)


@given(st.dictionaries(st.sampled_from(["job_id", "text", "error", "n"]), _values | _texts), st.sampled_from(["text", "json"]))
def test_every_event_is_one_whole_line_that_a_pipe_takes_at_once(fields: dict[str, object], form: str) -> None:
    pipe = Pipe()

    pipe.log(form=form).info("happened", **fields)

    line = pipe.read()
    pipe.close()
    assert len(line) <= MAX_LINE_BYTES and line.count(b"\n") == 1
    if form == "json":
        assert json.loads(line).keys() == {"at", "level", "process", "event", *fields}


def test_a_long_value_is_cut_and_the_others_are_not(pipe: Pipe) -> None:
    pipe.log(form="json").info("happened", text="é" * 5000, job_id="6954")

    shown = json.loads(pipe.read())

    assert shown["text"].startswith("ééé") and shown["text"].endswith("...")
    assert shown["job_id"] == "6954"


def test_a_reader_that_does_not_read_stops_nobody_and_is_told_later_what_it_missed(pipe: Pipe) -> None:
    log = pipe.log()
    os.set_blocking(pipe.write_fd, True)
    fcntl.fcntl(pipe.write_fd, fcntl.F_SETPIPE_SZ, 8192)
    for _ in range(100):
        log.info("happened", text="x" * 1000)
    dropped = log.dropped
    pipe.read()

    log.info("happened")
    log.info("happened")

    first, second = pipe.read().splitlines()
    assert dropped > 80
    assert first.endswith(f"lines_dropped_before={dropped}".encode())
    assert b"dropped" not in second


def test_a_reader_that_is_gone_stops_nobody(pipe: Pipe) -> None:
    gone_read, gone_write = os.pipe()
    os.close(gone_read)
    log = Log(FakeWorld(), fd=gone_write)

    log.error("happened")
    os.close(gone_write)
    log.error("happened")

    assert log.dropped == 2


def test_a_log_for_another_process_writes_to_the_same_place_in_the_same_way(pipe: Pipe) -> None:
    pipe.log(form="json", level="warning").named("queue-6000").error("happened")

    assert json.loads(pipe.read())["process"] == "queue-6000"
