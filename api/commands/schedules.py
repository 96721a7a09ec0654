"""`schedules` and `schedule …`: lists, makes, shows, pauses and runs schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import print_json
from jobyard.api.commands.times import SECONDS
from jobyard.engine.words import counted

PATH = "/api/schedules"
NAME = click.argument("name")


def definition_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that say what a schedule is."""
    for option in reversed(
        (
            click.option("--cron", help='Minute, hour, day of month, month, day of week: "30 2 * * *"; or @daily and the like.'),
            click.option("--every-s", "every_s", type=float, help="Every so many seconds, instead of --cron."),
            click.option("--task", help="The task of its jobs."),
            click.option("--payload", help="Their payload as JSON."),
            click.option("--job-options", "job_options", help='Further fields of its jobs as JSON: {"priority": 9}.'),
            click.option("--time-zone", "time_zone", help="An IANA name such as Europe/Berlin."),
            click.option("--overlap", help="skip, queue, all, replace or allow."),
            click.option("--catch-up", "catch_up", help="latest, all or none."),
            click.option("--catch-up-max", "catch_up_max", type=int, help="With --catch-up all: how many at most."),
            click.option("--jitter", "--jitter-s", "jitter_s", type=SECONDS, help="Delay each job by up to this long."),
            click.option("--starts-at", "starts_at", metavar="TIME", help="No fire before this time."),
            click.option("--ends-at", "ends_at", metavar="TIME", help="No fire after this time."),
            click.option("--dst-gap", "dst_gap", help="shift or skip: a local time that does not exist."),
            click.option("--dst-fold", "dst_fold", help="first, last or both: a local time that exists twice."),
        )
    ):
        command = option(command)
    return command


@click.command("schedules")
@with_service
def list_schedules(service: Service) -> None:
    """List all schedules, by name."""
    for one in service.client().ask("GET", PATH):
        if service.as_json:
            print_json(one)
            continue
        when = one["cron"] or f"every {one['every_s']} s"
        state = "paused" if one["paused"] else f"next {one['next_fire_at'] or 'never'}"
        click.echo(f"{one['name']}  {when}  {one['time_zone']}  {one['job']['task']}  {state}  {counted(one['fires'], 'fire')}")


@click.group("schedule")
def schedule_group() -> None:
    """Make, show, pause, run or delete one schedule."""


@schedule_group.command("put")
@NAME
@definition_options
@with_service
def put_schedule(service: Service, name: str, **given: Any) -> None:
    """Make a schedule, or change it. What is left out has its default.

    \b
    Example: jobyard schedule put nightly --cron "30 2 * * *" --time-zone Europe/Berlin --task report
    """
    _show(service, service.client().ask("PUT", _path(name), _body(given)))


@schedule_group.command("preview")
@definition_options
@with_service
def preview_schedule(service: Service, **given: Any) -> None:
    """Print when such a schedule would fire; nothing is stored."""
    answer = service.client().ask("POST", f"{PATH}/preview", _body(given))
    print_json(answer) if service.as_json else click.echo("\n".join(answer["next_fires"]))


@schedule_group.command("show")
@NAME
@with_service
def show_schedule(service: Service, name: str) -> None:
    """Print a schedule with its next fire times."""
    _show(service, service.client().ask("GET", _path(name)))


@schedule_group.command("pause")
@NAME
@click.option("--reason", help="Why, for whoever looks.")
@with_service
def pause_schedule(service: Service, name: str, reason: str | None) -> None:
    """Let it fire no more; the fires of the pause are not made up for."""
    _show(service, service.client().ask("POST", _path(name, "/pause"), {} if reason is None else {"reason": reason}))


@schedule_group.command("resume")
@NAME
@with_service
def resume_schedule(service: Service, name: str) -> None:
    """Let it fire again."""
    _show(service, service.client().ask("POST", _path(name, "/resume")))


@schedule_group.command("run")
@NAME
@with_service
def run_schedule(service: Service, name: str) -> None:
    """Make its job now, besides its fires, and print the job's id."""
    answer = service.client().ask("POST", _path(name, "/run"))
    print_json(answer) if service.as_json else click.echo(answer["job_id"])


@schedule_group.command("backfill")
@NAME
@click.option("--from", "since", required=True, metavar="TIME", help="The first fire time (RFC 3339).")
@click.option("--to", "until", required=True, metavar="TIME", help="The last fire time.")
@click.option("--overlap", help="skip, queue, all (the default), replace or allow.")
@with_service
def backfill_schedule(service: Service, name: str, since: str, until: str, overlap: str | None) -> None:
    """Make the jobs of past fire times that have none, and print their ids."""
    body = {"from": since, "to": until, **({} if overlap is None else {"overlap": overlap})}
    answer = service.client().ask("POST", _path(name, "/backfill"), body)
    print_json(answer) if service.as_json else click.echo("\n".join(answer["job_ids"]))


@schedule_group.command("delete")
@NAME
@with_service
def delete_schedule(service: Service, name: str) -> None:
    """Delete it; its jobs stay."""
    service.client().ask("DELETE", _path(name))
    if not service.as_json:
        click.echo(f"schedule {name} is deleted")


def _body(given: dict[str, Any]) -> dict[str, Any]:
    """The request's body of the options that were given."""
    job = _json("--job-options", given.pop("job_options"), {})
    if not isinstance(job, dict):
        raise click.UsageError('--job-options must be a JSON object, such as {"priority": 9}')
    task, payload = given.pop("task"), given.pop("payload")
    job |= {} if task is None else {"task": task}
    job |= {} if payload is None else {"payload": _json("--payload", payload, None)}
    return {**{name: value for name, value in given.items() if value is not None}, "job": job}


def _json(option: str, text: str | None, default: Any) -> Any:
    try:
        return default if text is None else json.loads(text)
    except ValueError as wrong:
        raise click.UsageError(f"{option} is not JSON: {wrong}") from None


def _path(name: str, rest: str = "") -> str:
    return f"{PATH}/{quote(name, safe='')}{rest}"


def _show(service: Service, schedule: dict[str, Any]) -> None:
    if service.as_json:
        print_json(schedule)
        return
    for name, value in schedule.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name:<17}{shown}")
