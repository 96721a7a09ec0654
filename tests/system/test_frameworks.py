"""The pages about web frameworks are correct: each one's project is made as shown, and every command is run on a real system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import carry_out, commands_of, differences, files_of
from tests.support.system import CHECKOUT, Jobyard

SMALL = {"RETRY_BASE_S": 0.05, "SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1}
PAGES = {
    "django": {"TASKS": "django:", "DJANGO_SETTINGS_MODULE": "shop.settings"},
    "flask": {"TASKS": "shop"},
    "fastapi": {"TASKS": "tasks"},
    "sentry-and-opentelemetry": {"TASKS": "with_sentry,with_opentelemetry"},
}
PROGRAMS = {"bin/jobyard": "-m jobyard", "path/jobyard": "-m jobyard", "path/python": ""}


def text_of(page: str) -> str:
    return (CHECKOUT / "docs" / f"{page}.md").read_text("utf-8")


def make_project(page: str, folder: Path) -> None:
    """The files that the page shows; its folders are packages."""
    for name, words in PROGRAMS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (folder / name).chmod(0o755)
    for name, block in files_of(text_of(page)).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(block, "utf-8")
        if "/" in name:
            (folder / name).with_name("__init__.py").touch()


@pytest.mark.parametrize("page", PAGES)
def test_the_project_of_a_page_works(page: str, tmp_path: Path) -> None:
    make_project(page, tmp_path)
    commands = commands_of(text_of(page))

    with Jobyard(tmp_path, **SMALL, **PAGES[page]) as jobyard:
        url = f"http://127.0.0.1:{jobyard.port()}"
        environment = Jobyard.environment_for(tmp_path)
        environment |= {"PATH": f"{tmp_path / 'path'}:{environment['PATH']}", "JOBYARD_URL": url}
        printed = carry_out(commands, folder=tmp_path, environment=environment)

    assert commands and "\n\n".join(differences(commands, printed)) == ""


def test_a_django_project_that_cannot_be_set_up_ends_the_start_with_the_reason(tmp_path: Path) -> None:
    make_project("django", tmp_path)
    (tmp_path / "shop" / "broken.py").write_text("INSTALLED_APPS = [\n")
    cases = {
        "shop.broken": "Django: shop.broken (DJANGO_SETTINGS_MODULE) cannot be imported: SyntaxError",
        "shop.missing": "Django: shop.missing (DJANGO_SETTINGS_MODULE) cannot be imported: ModuleNotFoundError: No module named",
        "": "TASKS=django: needs DJANGO_SETTINGS_MODULE, such as shop.settings",
    }

    for settings, words in cases.items():
        jobyard = Jobyard(tmp_path, **SMALL, TASKS="django:", DJANGO_SETTINGS_MODULE=settings)
        jobyard.start(wait_ready=False)
        status = jobyard.wait_end()
        jobyard.release_ports()
        assert (status, words in jobyard.output()) == (2, True), jobyard.output()


def test_an_executor_keeps_no_connection_of_the_template(tmp_path: Path) -> None:
    make_project("django", tmp_path)
    (tmp_path / "orders" / "tasks.py").write_text(
        "from django.db import connection\nfrom jobyard import task\n"
        "connection.ensure_connection()\nat_import = id(connection.connection)\n"
        "@task('look')\ndef look():\n    return connection.connection is None\n"
    )

    with Jobyard(tmp_path, **SMALL, TASKS="orders.tasks", DJANGO_SETTINGS_MODULE="shop.settings") as jobyard:
        job_id = jobyard.submit(task="look")
        assert jobyard.wait_for_job(job_id, status="completed")["result"] is True


def test_the_management_command_passes_its_words_on(tmp_path: Path) -> None:
    make_project("django", tmp_path)

    told = subprocess.run(
        [sys.executable, "manage.py", "jobyard", "--version"], cwd=tmp_path, env=Jobyard.environment_for(tmp_path),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (told.returncode, told.stdout.split()[0]) == (0, "jobyard"), told.stderr
