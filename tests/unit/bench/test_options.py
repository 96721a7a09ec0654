"""What `bin/bench` can be asked for."""

from __future__ import annotations

import pytest

from tests.bench import __main__ as bench


def test_the_help_lists_all_figures_and_ways_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["--help"])

    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(word in told for word in ("--against COMMIT", "--peers", "end_to_end_per_s", *bench.MEASURES))
