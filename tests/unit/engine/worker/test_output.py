"""What tasks print: whose it is, how much of it is logged, how much is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobyard.engine.executor.output_mark import mark_of
from jobyard.engine.jobs.job import Output, Progress
from jobyard.engine.logs import Log
from jobyard.engine.worker.output import KEPT_BYTES, MAX_LINES, OutputReader, Printer
from tests.support.world import START, FakeWorld

A, B, C = (envelope * 24 for envelope in "abc")


class Paper:
    """A printout, its log, and what its child was handed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handed: set[Printer] = {(A, 1), (B, 1)}
        log = Log(FakeWorld(), fd=os.open(path, os.O_WRONLY | os.O_CREAT))
        self.printout = OutputReader(log, pid=lambda: 42, awaits=lambda printer: printer in self.handed)
        self.printout.begin(A, 1)

    def kept(self, job_id: str) -> str | None:
        output = self.printout.so_far(job_id, 1, None)
        return None if output is None else output.text

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "log")


def test_what_is_printed_is_kept_as_it_is_and_escaped_in_the_log(paper: Paper) -> None:
    paper.printout.take(b"red \x1b[31m\xc3\xa9\nno end")
    paper.printout.end(A, 1)

    assert paper.kept(A) == "red \x1b[31mé\nno end"
    assert len(paper.lines()) == 2 and "\\u001b[31m" in paper.lines()[0]


def test_a_mark_tells_whose_the_rest_is_even_before_the_end_of_the_first_is_heard(paper: Paper) -> None:
    paper.printout.take(b"of A\n" + mark_of(B, 1) + b"of B\n")
    paper.printout.end(A, 1)
    paper.printout.take(b"more of B\n")

    assert paper.printout.taken(A, 1, None) == Output(job_id=A, attempt=1, text="of A\n")
    assert paper.kept(A) is None
    assert paper.kept(B) == "of B\nmore of B\n"


@pytest.mark.parametrize(
    "mark",
    [mark_of(C, 1), mark_of(A, 1), mark_of(B, 2), b"\0\x1e" + b"b" * 24 + b":" + b"9" * 5000 + b"\n", b"\0\x1ebbbb:1\n"],
    ids=["nobody", "itself", "another attempt", "a number without end", "no id"],
)
def test_a_mark_that_a_task_makes_up_is_its_own_output(paper: Paper, mark: bytes) -> None:
    paper.printout.take(b"before\n" + mark + b"after\n")

    assert paper.kept(A) == (b"before\n" + mark + b"after\n").decode()
    assert paper.kept(B) is None


def test_made_up_marks_do_not_lift_the_bound_of_the_log(paper: Paper) -> None:
    for _ in range(3 * MAX_LINES):
        paper.printout.take(b"x\n" + mark_of(A, 1))

    assert len(paper.lines()) == MAX_LINES + 1


def test_the_end_of_much_is_kept_from_a_whole_character_on(paper: Paper) -> None:
    paper.printout.take("é".encode() * KEPT_BYTES + b"x")

    output = paper.printout.taken(A, 1, None)

    assert output is not None and output.is_cut
    assert output.text == "é" * (KEPT_BYTES // 2 - 1) + "x"


def test_bytes_that_are_no_text_take_no_more_room_than_text(paper: Paper) -> None:
    paper.printout.take(b"\xff" * KEPT_BYTES)

    output = paper.printout.taken(A, 1, None)

    assert output is not None and output.is_cut
    assert len(output.text.encode()) <= KEPT_BYTES and set(output.text) == {"\ufffd"}


def test_a_silent_attempt_leaves_nothing_but_its_progress(paper: Paper) -> None:
    told = Progress(fraction=1.0, note="done", at=START)

    assert paper.printout.so_far(A, 1, None) is None
    assert paper.printout.so_far(A, 1, told) == Output(job_id=A, attempt=1, progress=told)


def test_what_nobody_runs_prints_is_logged_and_not_kept(paper: Paper) -> None:
    paper.printout.end(A, 1)

    paper.printout.take(b"a thread that was left\n")

    assert "executor=42" in paper.lines()[0]
    assert paper.kept(A) is None
