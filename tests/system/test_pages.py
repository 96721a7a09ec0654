"""The pages of the documentation are correct: every file is used, and every command is run on a real system."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.pages import carry_out, commands_of, differences, files_of
from tests.support.system import CHECKOUT, Jobyard

PAGES = (
    "command-line", "getting-started", "tasks", "arguments", "what-a-child-keeps", "coming-from", "your-project", "managing-jobs",
)  # fmt: skip
SHOWN_URL = "http://127.0.0.1:8080"
PROGRAMS = {"bin/jobyard": "-m jobyard", "path/jobyard": "-m jobyard", "path/python": ""}


def text_of(page: str) -> str:
    return (CHECKOUT / "docs" / f"{page}.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Mapping[str, str], str]]:
    """A folder as the pages describe it, the environment in it, and the address of the running system."""
    folder = tmp_path_factory.mktemp("pages")
    for name, words in PROGRAMS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (folder / name).chmod(0o755)
    files = {name: block for page in PAGES for name, block in files_of(text_of(page)).items()}
    modules = [name.removesuffix(".py") for name, block in files.items() if "@task(" in block]
    jobyard = Jobyard(folder, TASKS=",".join(modules), RETRY_BASE_S=0.05, SCHEDULERS=1, WATCHERS=1, WORKERS=1)
    url = f"http://127.0.0.1:{jobyard.port()}"
    for name, block in files.items():
        (folder / name).write_text(block.replace(SHOWN_URL, url), "utf-8")
    environment = Jobyard.environment_for(folder)
    environment |= {"PATH": f"{folder / 'path'}:{environment['PATH']}", "JOBYARD_URL": url}
    with jobyard.add_settings(JOBYARD_URL=url):
        yield folder, environment, url


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(shell: tuple[Path, Mapping[str, str], str], page: str) -> None:
    folder, environment, url = shell
    commands = commands_of(text_of(page).replace(SHOWN_URL, url))

    printed = carry_out(commands, folder=folder, environment=environment)

    assert len(commands) >= 3 and "\n\n".join(differences(commands, printed)) == ""
