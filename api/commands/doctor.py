"""`doctor`: checks the machine, the settings, the database and the running service, and says what to do about each problem."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from jobyard.api.commands import exits
from jobyard.api.commands.check_control import look_at_control
from jobyard.api.commands.check_machine import (
    look_at_clock,
    look_at_database,
    look_at_disk,
    look_at_folder,
    look_at_limits,
    look_at_ports,
    look_at_tasks,
    look_at_versions,
)
from jobyard.api.commands.check_schedules import look_at_schedules
from jobyard.api.commands.check_service import look_at_health, look_at_jobs, look_at_processes
from jobyard.api.commands.connection import CommandEnvironment, Service, make_service, report_errors, service_options
from jobyard.api.commands.findings import Finding, State, broken, examine, fine, warning, worst
from jobyard.api.commands.show import clean, print_json
from jobyard.engine.checkout import default_data_dir, program
from jobyard.engine.client.sync_client import Client
from jobyard.engine.config import Settings, read_settings
from jobyard.engine.errors import JobyardError, Unauthorized, Unreachable
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.world import World

RETRY_S = 1.0
STATUS = {State.FINE: exits.OK, State.WARNING: exits.DOCTOR_WARNS, State.BROKEN: exits.DOCTOR_SAYS_BROKEN}
COLOURS = {State.FINE: "green", State.WARNING: "yellow", State.BROKEN: "red"}
CHECKS: dict[str, Callable[[Settings], Iterable[Finding]]] = {
    "folder": look_at_folder, "disk": look_at_disk, "limits": look_at_limits, "ports": look_at_ports,
    "database": look_at_database, "clock": look_at_clock,
}  # fmt: skip
MONGODB_PAGE, OPERATING_PAGE = "see docs/mongodb.md", "see docs/operating.md, on restoring a backup too"


@click.command("doctor")
@service_options
@click.pass_context
def see_doctor(context: click.Context, url: str | None, token_file: Path | None, as_json: bool) -> None:
    """Find out what is wrong, and say what to do about it.

    Works whether Jobyard runs or not. Checks the settings as a start from this shell would read them, task modules, data folder,
    disk, limits, ports, database and clock; then the service: components, processes, stuck jobs. Changes nothing.

    Exit status: 0 when all is fine, 1 when there are warnings, 2 when something is broken.

    \b
    Examples: jobyard doctor
              TASKS=mytasks jobyard doctor --json
    """
    command_environment = context.find_object(CommandEnvironment) or CommandEnvironment()
    found: list[Finding] = []
    with report_errors():
        for finding in _examine_all(context, command_environment, url, token_file):
            found.append(finding)
            if not as_json:
                _print_finding(finding)
    if as_json:
        print_json({"state": worst(found), "findings": [asdict(finding) for finding in found]})
    else:
        click.echo(_summary_line(found))
    sys.exit(STATUS[worst(found)])


def _examine_all(
    context: click.Context, command_environment: CommandEnvironment, url: str | None, token_file: Path | None
) -> Iterator[Finding]:  # fmt: skip
    yield from examine("versions", look_at_versions)
    given = {name: value for name, value in command_environment.environment.items() if value}
    try:
        settings = read_settings({"DATA_DIR": default_data_dir()} | given)
    except JobyardError as wrong:
        yield broken("settings", wrong.message, "correct them; nothing else was looked at")
        return
    yield fine("settings", f"{len([name for name in given if hasattr(settings, name.lower())])} set in the environment, all valid")
    yield from examine("tasks", partial(look_at_tasks, settings, given), remedy=OPERATING_PAGE)
    for name, look in CHECKS.items():
        yield from examine(name, partial(look, settings), remedy=MONGODB_PAGE if settings.mongo_uri else OPERATING_PAGE)
    service = make_service(context, url=url, token_file=token_file, as_json=True)
    yield from examine("service", lambda: _ask(service, settings))
    yield from examine("control", partial(look_at_control, settings))


def _ask(service: Service, settings: Settings) -> Iterator[Finding]:
    client = service.client(retry_s=RETRY_S)
    try:
        yield from look_at_health(client)
        yield from _ask_more(client)
        yield from look_at_schedules(client, settings)
    except Unreachable as lost:
        users = ", ".join(map(str, DataDir(settings.data_dir).occupants()))
        if users:
            yield broken("service", f"{lost.message}, although {users} runs", "see ports; give --url if it listens elsewhere")
        else:
            yield warning("service", f"not running: {lost.message}", f"start it with {program('start-all')}, or give --url")
    except Unauthorized as refused:
        yield broken("service", refused.message, "set API_TOKEN, or give --token-file")


def _ask_more(client: Client) -> Iterator[Finding]:
    stats = client.stats()
    yield from look_at_processes(stats)
    yield from look_at_jobs(client, stats, World().now())


def _print_finding(finding: Finding) -> None:
    mark = click.style(finding.state.ljust(8), fg=COLOURS[finding.state])
    click.echo(f"{mark} {finding.check.ljust(9)} {clean(finding.message)}")
    if finding.remedy:
        click.echo(f"{'':18} {click.style('→', bold=True)} {clean(finding.remedy)}")


def _summary_line(found: list[Finding]) -> str:
    counts = {state: sum(finding.state is state for finding in found) for state in State}
    if worst(found) is State.FINE:
        return click.style("all is fine", bold=True)
    plural = "" if counts[State.WARNING] == 1 else "s"
    return click.style(f"{counts[State.BROKEN]} broken, {counts[State.WARNING]} warning{plural}", bold=True)
