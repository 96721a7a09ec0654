"""The workers of the documentation: the page shows exactly the programs that are tested."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_shows_the_workers_as_they_are() -> None:
    page = (DOCS / "workers-in-any-language.md").read_text("utf-8")

    programs = sorted((DOCS / "workers").iterdir())

    assert [program.name for program in programs] == ["worker.go", "worker.mjs", "worker.py", "worker.sh"]
    for program in programs:
        assert f"\n{program.read_text('utf-8')}```\n" in page, program.name
