"""The options that select jobs, the same for `list`, `cancel`, `retry` and `delete`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

import click
from click.shell_completion import CompletionItem

from jobyard.api.commands.connection import make_service
from jobyard.engine.errors import JobyardError
from jobyard.engine.jobs.job import Status

P = ParamSpec("P")
R = TypeVar("R")
COMPLETION_RETRY_S = 0.5


def complete_task(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The registered tasks; none when the service does not answer."""
    try:
        given = {name: context.params.get(name) for name in ("url", "token_file")}
        tasks = make_service(context, as_json=False, **given).client(retry_s=COMPLETION_RETRY_S).ask("GET", "/api/tasks")
    except (JobyardError, click.ClickException):
        return []
    return [CompletionItem(row["task"]) for row in tasks if row["task"].startswith(incomplete)]


OPTIONS = (
    click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only jobs with this status."),
    click.option("--task", shell_complete=complete_task, help="Only jobs of this task."),
    click.option("--queue", help="Only jobs of this queue."),
    click.option("--group", help="Only members of this group."),
    click.option("--unique-key", help="Only jobs with this unique key, as a job shows it (task/key)."),
    click.option("--tag", "tag", multiple=True, help="Only jobs with this tag; given several times: with all of them."),
    click.option("--error-kind", help="Only jobs whose error is of this kind: its first line, whatever its numbers."),
    click.option("--text", help="Only jobs with this text in their payload or error, in any case."),
    click.option("--after", "created_after", metavar="TIME", help="Only jobs created then or later (2026-01-04T02:00:00Z)."),
    click.option("--before", "created_before", metavar="TIME", help="Only jobs created before then."),
)


def filter_options(command: Callable[P, R]) -> Callable[P, R]:
    """Adds all filter options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as a filter in a request's body."""
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {name: value for name, value in listed.items() if value is not None and value != []}


def query(options: Mapping[str, Any], **more: object) -> str:
    """The given options as a query string, with its question mark."""
    return "?" + urlencode({**given(options), **more}, doseq=True)
