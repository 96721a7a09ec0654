"""The built-in `shell` task: exit status and bounded output of a program."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from jobyard import Unrecoverable
from jobyard.engine.tasks.shell import MAX_KEPT_BYTES, run_program
from tests.support.notes import is_alive
from tests.support.waiting import wait_for

AGAIN_S = 5.0


def sh(script: str) -> object:
    return run_program({"command": ["sh", "-c", script]})


def test_the_programs_output_is_the_result() -> None:
    assert sh("echo out; echo err >&2") == {"returncode": 0, "stdout": "out\n", "stderr": "err\n"}


def test_arguments_are_not_interpreted_by_a_shell() -> None:
    shown = run_program({"command": ["echo", "$HOME; *", "`id`"]})

    assert shown["stdout"] == "$HOME; * `id`\n"


def test_a_nonzero_exit_status_fails_with_the_end_of_stderr() -> None:
    with pytest.raises(RuntimeError, match="sh ended with 3: went wrong"):
        sh("echo went wrong >&2; exit 3")


def test_excess_output_is_read_and_truncated() -> None:
    shown = run_program({"command": ["head", "-c", "20000000", "/dev/zero"]})

    assert len(shown["stdout"]) == MAX_KEPT_BYTES


def test_the_task_ends_with_the_program_although_its_child_lives(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    sh(f"sleep 60 & echo $! > {note}")

    os.kill(int(note.read_text()), signal.SIGKILL)


def test_the_program_ends_with_its_task(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    main = threading.main_thread().ident
    assert main is not None

    over = threading.Event()

    def interrupt() -> None:
        wait_for(lambda: note.exists() and note.read_text().endswith("\n"))
        signal.pthread_kill(main, signal.SIGINT)
        while not over.wait(AGAIN_S) and is_alive(int(note.read_text())):  # one is lost between fork and the program's start
            signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        try:
            sh(f"echo $$ > {note}; exec sleep 60")
        finally:
            over.set()

    assert not Path(f"/proc/{int(note.read_text())}").exists()


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"command": "ls"}, {"command": []}, {"command": [1]}, {"command": ["a\0b"]}, {"command": ["ls"], "env": {}}],
)
def test_an_invalid_payload_is_unrecoverable(payload: object) -> None:
    with pytest.raises(Unrecoverable, match="the payload of shell must be"):
        run_program(payload)


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd", ""])
def test_a_program_that_cannot_be_run_is_unrecoverable(program: str) -> None:
    with pytest.raises(Unrecoverable, match="cannot be run"):
        run_program({"command": [program]})


def test_an_interrupt_of_the_program_s_own_start_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(program: subprocess.Popen[bytes], *given: Any, **options: Any) -> None:
        start(program, *given, **options)
        started.append(program.pid)
        raise KeyboardInterrupt

    start = subprocess.Popen.__init__
    monkeypatch.setattr(subprocess.Popen, "__init__", interrupted)

    with pytest.raises(KeyboardInterrupt):
        sh("exec sleep 60")

    assert not Path(f"/proc/{started[0]}").exists()
