"""`bin/jobyard`: all commands under one name. One is loaded when it is called: each Tab of a completion is a process of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click
from click.shell_completion import get_completion_class

from jobyard.api.commands.connection import ChildEnvironment

NAME = "jobyard"
SHELLS = ("bash", "zsh", "fish")
PLACES: Mapping[str, str] = {
    "submit": "submit.submit_jobs", "list": "jobs.list_jobs", "show": "jobs.show_job", "why": "jobs.why_not",
    "wait": "jobs.wait_for_jobs", "logs": "logs.show_logs", "cancel": "changes.cancel_jobs", "retry": "changes.retry_jobs",
    "stats": "overview.show_stats", "top": "top.show_top", "tasks": "overview.show_tasks", "doctor": "doctor.see_doctor",
    "backup": "database.backup_command", "migrate": "database.migrate_command", "completion": "root.print_completion",
}  # fmt: skip
"""Module and function of each command, in the order of the help."""


class Commands(click.Group):
    """Those of `PLACES`."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Their names."""
        return list(PLACES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """That one, loaded now."""
        if name not in PLACES:
            return None
        module, _, function = PLACES[name].partition(".")
        command = getattr(importlib.import_module(f"jobyard.api.commands.{module}"), function)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def commands(context: click.Context) -> None:
    """Submit, look at and change jobs from the command line.

    Which service: --url, else JOBYARD_URL, else what HOST and PORT_OFFSET say; its token: --token-file, else API_TOKEN.

    Exit status: 0 done; 1 the job failed, or the service refused; 2 wrong words; 3 the service is away; 4 the time to wait was up.
    """
    if (context.find_object(ChildEnvironment) or ChildEnvironment()).environment.get("NO_COLOR"):
        context.color = False  # https://no-color.org; where nobody sees them they are left out anyhow


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def print_completion(shell: str) -> None:
    """Print what a shell needs to complete `jobyard` (put bin/ on PATH).

    \b
    bash: eval "$(jobyard completion bash)"     zsh: eval "$(jobyard completion zsh)"
    fish: jobyard completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(commands, {}, NAME, f"_{NAME.upper()}_COMPLETE").source())
