"""`logging` in a task; run in a separate program, because pytest installs handlers."""

from __future__ import annotations

import subprocess
import sys

import pytest

TASK = "logging.getLogger('mine').info('told'); logging.getLogger('mine').debug('too little')"


def said(before: str, task: str = TASK) -> str:
    """The output of a program that configures logging like this, becomes an executor and runs the task."""
    program = f"import logging; {before}; from jobyard.engine.executor.child import show_logging; show_logging('info'); {task}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr


@pytest.mark.parametrize(
    ("before", "task", "output"),
    [
        ("pass", TASK, "INFO mine: told\n"),
        ("logging.basicConfig(format='theirs %(message)s', level=20)", TASK, "theirs told\n"),
        ("pass", f"logging.basicConfig(format='late %(message)s'); {TASK}", "late told\n"),
        ("logging.root.setLevel(40)", TASK, ""),
    ],
    ids=["not set up", "set up by the user's modules", "set up by the task", "a level of their own"],
)
def test_a_task_logs_to_stderr_unless_it_was_set_up_otherwise(before: str, task: str, output: str) -> None:
    assert said(before, task) == output
