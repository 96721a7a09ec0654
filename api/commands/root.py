"""`bin/jobyard`: all commands under one name."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from api.commands.changes import cancel_jobs, retry_jobs
from api.commands.connection import Surroundings
from api.commands.database import backup_command, migrate_command
from api.commands.doctor import see_doctor
from api.commands.jobs import list_jobs, show_job, wait_for_jobs, why_not
from api.commands.logs import show_logs
from api.commands.overview import show_stats, show_tasks
from api.commands.submit import submit_jobs
from api.commands.top import show_top

NAME = "jobyard"
SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Submit, look at and change jobs from the command line.

    Which service: --url, else JOBYARD_URL, else what HOST and PORT_OFFSET say; its token: --token-file, else API_TOKEN.

    Exit status: 0 done; 1 the job failed, or the service refused; 2 wrong words; 3 the service is away; 4 the time to wait was up.
    """
    if (context.find_object(Surroundings) or Surroundings()).environment.get("NO_COLOR"):
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
    click.echo(kind(main, {}, NAME, f"_{NAME.upper()}_COMPLETE").source())


for command in (
    submit_jobs, list_jobs, show_job, why_not, wait_for_jobs, cancel_jobs, retry_jobs, show_logs, show_stats, show_tasks,
    show_top, see_doctor, backup_command, migrate_command, print_completion,
):  # fmt: skip
    main.add_command(command)
