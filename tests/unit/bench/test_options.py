"""What `bin/bench` can be asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench import __main__ as bench
from tests.support.system import CHECKOUT

ONLY_IN_THE_TEST_EXTRA = ("pytest", "mongomock", "hypothesis", "schemathesis", "yaml", "playwright", "django", "fastapi")


def test_the_help_lists_all_figures_and_ways_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["--help"])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--against COMMIT", "--peers", "end_to_end_per_s", *bench.MEASURES))


def test_it_needs_nothing_that_only_the_tests_need() -> None:
    hidden = f"import sys; sys.modules.update(dict.fromkeys({ONLY_IN_THE_TEST_EXTRA}))"

    ended = subprocess.run(
        [sys.executable, "-c", f"{hidden}; from tests.bench import __main__"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (0, "")
