"""`cancel`, `retry` and `delete`: one job, several, or all that a filter selects, after showing their number and asking.

And `run-now` and `tag`, for named jobs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from jobyard.api.commands import exits
from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.filters import filter_options, given, query
from jobyard.api.commands.payloads import read_payload, read_priority
from jobyard.api.commands.show import coloured, print_json, progress_bar
from jobyard.api.commands.times import SECONDS
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
@click.option("--payload", metavar="JSON", help="Named jobs: the payload they run with from now on.")
@click.option("--delay", "delay_s", type=SECONDS, help="Named jobs: due no earlier than this long from now.")
@click.option("--max-retries", type=int, help="Named jobs: how many times they are tried again.")
@click.option("--timeout", "timeout_s", type=SECONDS, help="Named jobs: how long one attempt may run.")
@click.option("--spread", "spread_s", type=SECONDS, help="Jobs of a filter: due evenly over this long, instead of all at once.")
@click.option("--priority", help="Jobs of a filter: their priority from now on, 0 to 9, low, normal or high.")
@YES
@with_service
def retry_jobs(
    service: Service, job_ids: Sequence[str], yes: bool, payload: str | None, delay_s: float | None, max_retries: int | None,
    timeout_s: float | None, spread_s: float | None, priority: str | None, **filters: str | None,
) -> None:  # fmt: skip
    """Give failed and cancelled jobs a fresh set of retries: the named jobs, or all that a filter selects.

    They are due at once, also those that had been scheduled for later, unless --delay or --spread says otherwise.

    \b
    Examples: jobyard retry 69541618f7d4e1295bfa447b --payload '{"path": "b.png"}'
              jobyard retry --status failed --text "no space left" --spread 10m --yes
    """
    of_named: dict[str, Any] = _given(delay_s=delay_s, max_retries=max_retries, timeout_s=timeout_s)
    of_named |= {} if payload is None else {"payload": read_payload(payload)}
    of_filter = _given(spread_s=spread_s, priority=None if priority is None else read_priority(priority))
    if (of_named and not job_ids) or (of_filter and job_ids):
        raise click.UsageError("--spread and --priority are for the jobs that a filter selects, the other changes for named jobs")
    sys.exit(_change(service, "retry", job_ids, given(filters), yes, of_named or of_filter))


@click.command("delete")
@IDS
@filter_options
@YES
@with_service
def delete_jobs(service: Service, job_ids: Sequence[str], yes: bool, **filters: str | None) -> None:
    """Delete jobs that have ended, with all that is stored about them: the named jobs, or all that a filter selects.

    \b
    Examples: bin/jobyard delete 69541618f7d4e1295bfa447b
              bin/jobyard delete --tag import:2026-01 --status completed
    """
    sys.exit(_change(service, "delete", job_ids, given(filters), yes))


@click.command("run-now")
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB_ID…")
@with_service
def run_now(service: Service, job_ids: Sequence[str]) -> None:
    """Make pending jobs due now, whether they were scheduled for later or wait for a retry."""
    sys.exit(_change_each(service, "run", job_ids, {}))


@click.command("tag")
@click.argument("job_id")
@click.argument("tags", nargs=-1, metavar="[TAG]…")
@with_service
def tag_job(service: Service, job_id: str, tags: Sequence[str]) -> None:
    """Give a job these tags instead of its own; without any, it has none."""
    job = service.client().ask("PUT", f"/api/jobs/{job_id}/tags", {"tags": list(tags)})
    print_json(job) if service.as_json else click.echo(f"{job_id} has {', '.join(job['tags']) or 'no tags'}")


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _change(
    service: Service, verb: str, job_ids: Sequence[str], filters: dict[str, Any], skip_prompt: bool,
    edits: dict[str, Any] | None = None,
) -> int:  # fmt: skip
    if bool(job_ids) == bool(filters):
        raise click.UsageError(f"name the jobs to {verb}, or select them by --status, --task, --queue, --tag, --text, --after or …")
    if job_ids:
        return _change_each(service, verb, job_ids, edits or {})
    return _change_all(service, verb, filters, skip_prompt, edits or {})


def _change_each(service: Service, verb: str, job_ids: Sequence[str], edits: dict[str, Any]) -> int:
    """Change each job, whatever happens to the others."""
    client = service.client()
    status = exits.OK
    for job_id in job_ids:
        try:
            _change_one(client, verb, job_id, edits)
        except Rejected as refused:
            click.echo(f"jobyard: {refused.message}", err=True)
            status = exits.FAILED
            continue
        if verb == "delete":
            click.echo(f"{job_id} is deleted")
            continue
        job = client.ask("GET", f"/job?job_id={job_id}")
        if service.as_json:
            print_json(job)
        else:
            click.echo(f"{job_id} is {coloured(job['status'])}")
    return status


def _change_one(client: Client, verb: str, job_id: str, edits: dict[str, Any]) -> None:
    if verb == "run":
        client.ask("POST", f"/api/jobs/{job_id}/run")
    else:
        getattr(client, verb)(job_id, **edits)


def _change_all(service: Service, verb: str, filters: dict[str, Any], skip_prompt: bool, edits: dict[str, Any]) -> int:
    client = service.client()
    found = client.ask("GET", "/api/jobs/count" + query(filters))
    jobs = f"{'' if found['is_exact'] else 'at least '}{counted(found['count'], 'job')}"
    if not skip_prompt and found["count"]:
        click.confirm(f"{verb} {jobs}?", abort=True, err=True)
    done = _in_steps(client, verb, {"filter": filters, "limit": STEP, **edits}, found["count"])
    if service.as_json:
        print_json(done)
    else:
        skipped = f"; {done['skipped']} skipped, to which {verb} does not apply" if done["skipped"] else ""
        click.echo(f"{counted(done['changed'], 'job')} changed{skipped}")
    return exits.OK


def _in_steps(client: Client, verb: str, body: dict[str, Any], expected: int) -> dict[str, int]:
    done = {"changed": 0, "skipped": 0}
    cursor: str | None = None
    with progress_bar(expected, verb) as bar:
        while True:
            step = client.ask("POST", f"/api/jobs/{verb}", body | ({} if cursor is None else {"cursor": cursor}))
            for name in done:
                done[name] += step[name]
            bar.update(step["changed"] + step["skipped"])
            cursor = step["cursor"]
            if cursor is None:
                return done
