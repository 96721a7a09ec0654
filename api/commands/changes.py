"""`cancel` and `retry`: one job, several, or all that a filter selects, after showing their number and asking for confirmation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from jobyard.api.commands import exits
from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.filters import filter_options, given, query
from jobyard.api.commands.show import coloured, print_json, progress_bar
from jobyard.engine.client.sync_client import Client
from jobyard.engine.errors import Rejected
from jobyard.engine.words import counted

STEP = 500
IDS = click.argument("job_ids", nargs=-1, metavar="[JOB_ID]…")
YES = click.option("--yes", is_flag=True, help="Don't ask for confirmation before changing all jobs that a filter selects.")


@click.command("cancel")
@IDS
@filter_options
@YES
@with_service
def cancel_jobs(service: Service, job_ids: Sequence[str], yes: bool, **filters: str | None) -> None:
    """Cancel the named jobs, or all that a filter selects.

    A waiting job never runs; a running task is asked to stop, then killed. Finished jobs are skipped.

    \b
    Examples: jobyard cancel 69541618f7d4e1295bfa447b
              jobyard cancel --task resize --status pending
    """
    sys.exit(_change(service, "cancel", job_ids, given(filters), yes))


@click.command("retry")
@IDS
@filter_options
@YES
@with_service
def retry_jobs(service: Service, job_ids: Sequence[str], yes: bool, **filters: str | None) -> None:
    """Give failed and cancelled jobs a fresh set of retries: the named jobs, or all that a filter selects.

    They are due at once, also those that had been scheduled for later.

    \b
    Examples: jobyard retry 69541618f7d4e1295bfa447b
              jobyard retry --status failed --text "no space left" --yes
    """
    sys.exit(_change(service, "retry", job_ids, given(filters), yes))


def _change(service: Service, verb: str, job_ids: Sequence[str], filters: dict[str, str], skip_prompt: bool) -> int:
    if bool(job_ids) == bool(filters):
        raise click.UsageError(f"name the jobs to {verb}, or select them by --status, --task, --queue, --text, --after or --before")
    return _change_each(service, verb, job_ids) if job_ids else _change_all(service, verb, filters, skip_prompt)


def _change_each(service: Service, verb: str, job_ids: Sequence[str]) -> int:
    """Change each job, whatever happens to the others."""
    client = service.client()
    status = exits.OK
    for job_id in job_ids:
        try:
            getattr(client, verb)(job_id)
        except Rejected as refused:
            click.echo(f"jobyard: {refused.message}", err=True)
            status = exits.FAILED
            continue
        job = client.ask("GET", f"/job?job_id={job_id}")
        if service.as_json:
            print_json(job)
        else:
            click.echo(f"{job_id} is {coloured(job['status'])}")
    return status


def _change_all(service: Service, verb: str, filters: dict[str, str], skip_prompt: bool) -> int:
    client = service.client()
    found = client.ask("GET", "/api/jobs/count" + query(filters))
    jobs = f"{'' if found['is_exact'] else 'at least '}{counted(found['count'], 'job')}"
    if not skip_prompt and found["count"]:
        click.confirm(f"{verb} {jobs}?", abort=True, err=True)
    done = _in_steps(client, verb, filters, found["count"])
    if service.as_json:
        print_json(done)
    else:
        skipped = f"; {done['skipped']} skipped, to which {verb} does not apply" if done["skipped"] else ""
        click.echo(f"{counted(done['changed'], 'job')} changed{skipped}")
    return exits.OK


def _in_steps(client: Client, verb: str, filters: dict[str, str], expected: int) -> dict[str, int]:
    done = {"changed": 0, "skipped": 0}
    cursor: str | None = None
    with progress_bar(expected, verb) as bar:
        while True:
            body: dict[str, Any] = {"filter": filters, "limit": STEP} | ({} if cursor is None else {"cursor": cursor})
            step = client.ask("POST", f"/api/jobs/{verb}", body)
            for name in done:
                done[name] += step[name]
            bar.update(step["changed"] + step["skipped"])
            cursor = step["cursor"]
            if cursor is None:
                return done
