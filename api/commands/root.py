"""`bin/jobyard`: all commands under one name. Each is imported when called, since every Tab of a completion starts a process."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import get_completion_class

from jobyard.api.commands import exits
from jobyard.api.commands.connection import CommandEnvironment
from jobyard.engine.extras import extra_of, how_to_add, missing_from
from jobyard.engine.version import version

NAME = "jobyard"
SHELLS = ("bash", "zsh", "fish")
COMMAND_FUNCTIONS: Mapping[str, str] = {
    "submit": "submit.submit_jobs", "list": "jobs.list_jobs", "show": "jobs.show_job", "why": "jobs.why_not",
    "wait": "jobs.wait_for_jobs", "logs": "logs.show_logs", "cancel": "changes.cancel_jobs", "retry": "changes.retry_jobs",
    "delete": "changes.delete_jobs", "run-now": "changes.run_now", "tag": "changes.tag_job", "failures": "failures.list_failures",
    "queues": "queues.list_queues",
    "stats": "overview.show_stats", "top": "top.show_top", "tasks": "overview.show_tasks",
    "groups": "groups.list_groups", "group": "groups.show_group",
    "schedules": "schedules.list_schedules", "schedule": "schedules.schedule_group", "limits": "limits.list_limits",
    "limit": "limits.limit_group", "pause": "limits.pause_limit", "resume": "limits.resume_limit", "doctor": "doctor.see_doctor",
    "restart": "control.restart", "drain": "control.drain", "log-level": "control.set_log_level",
    "reload": "control.reload_tasks",
    "backup": "database.backup_command", "migrate": "database.migrate_command", "completion": "root.print_completion",
}  # fmt: skip
"""Module and function of each command, in the order of the help."""


class Incorrect(click.ClickException):
    """The command was used incorrectly; shown in one line, as every other error."""

    exit_code = exits.USAGE

    def show(self, file: Any = None) -> None:
        """See click."""
        click.echo(f"{NAME}: {self.message}", file=file, err=True)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turns click's errors of several lines (usage, hint, error) into `Incorrect`."""
    try:
        yield
    except (Incorrect, getattr(click.exceptions, "NoArgsIsHelpError", Incorrect)):  # the latter shows the help, from click 8.2 on
        raise
    except click.UsageError as wrong:
        message = " ".join(wrong.format_message().split()).removesuffix(".")
        context = getattr(wrong, "ctx", None)
        hint = f"; see {context.command_path} --help" if context is not None and "--help" in context.help_option_names else ""
        is_a_word = message[1:2].islower()  # not the name of a setting
        raise Incorrect((message[:1].lower() + message[1:] if is_a_word else message) + hint) from None


class Commands(click.Group):
    """The group of the commands in `COMMAND_FUNCTIONS`."""

    def make_context(self, *given: Any, **more: Any) -> click.Context:
        """See click."""
        with errors_in_one_line():
            return super().make_context(*given, **more)

    def invoke(self, context: click.Context) -> Any:
        """See click."""
        with errors_in_one_line():
            return super().invoke(context)

    def list_commands(self, context: click.Context) -> list[str]:
        """See click."""
        return list(COMMAND_FUNCTIONS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """See click; imports the command's module."""
        if name not in COMMAND_FUNCTIONS:
            return None
        module, _, function = COMMAND_FUNCTIONS[name].partition(".")
        try:
            command = getattr(importlib.import_module(f"jobyard.api.commands.{module}"), function)
        except ModuleNotFoundError as missing:
            if (extra := extra_of(missing.name)) is None:
                raise
            return unavailable_command(name, how_to_add(extra, missing_from(extra)))
        assert isinstance(command, click.Command)
        return command


def unavailable_command(name: str, reason: str) -> click.Command:
    """What stands in the place of a command whose dependencies are not installed: it says so, whatever follows it."""

    def refuse(**given: object) -> None:
        raise Incorrect(reason)

    settings = {"ignore_unknown_options": True, "help_option_names": []}
    words = click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)
    return click.Command(name, callback=refuse, params=[words], help=reason, context_settings=settings)


def print_version(context: click.Context, option: click.Parameter, is_asked: bool) -> None:
    """`jobyard 0.2.0`, and that was it."""
    if is_asked:
        click.echo(f"{NAME} {version()}")
        context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version, help="Print the version.")
@click.pass_context
def commands(context: click.Context) -> None:
    """Submit, read and change jobs from the command line.

    To start and stop Jobyard: jobyard start-all, jobyard start ROLE and jobyard stop-all; each has a --help of its own.

    The service: --url, else JOBYARD_URL, else what HOST and PORT_OFFSET say; its token: --token-file, else
    JOBYARD_TOKEN (or API_TOKEN), else the file that TOKEN_FILE names.

    Exit status: 0 success; 1 the job failed, or the service refused; 2 incorrect usage; 3 service unavailable; 4 time was up.
    """
    if (context.find_object(CommandEnvironment) or CommandEnvironment()).environment.get("NO_COLOR"):
        context.color = False  # https://no-color.org; click leaves colours out anyway when stdout is no terminal


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def print_completion(shell: str) -> None:
    """Print the completion script for a shell (put bin/ on PATH).

    \b
    bash: eval "$(jobyard completion bash)"     zsh: eval "$(jobyard completion zsh)"
    fish: jobyard completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(commands, {}, NAME, f"_{NAME.upper()}_COMPLETE").source())
