"""`submit`: one job, or a file of jobs. A job that was sent before is never stored twice, whatever dies in between."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.filters import complete_task
from jobyard.api.commands.job_file import JobFile
from jobyard.api.commands.jobs import wait_and_report
from jobyard.api.commands.payloads import read_payload, read_priority
from jobyard.api.commands.show import print_json, progress_bar
from jobyard.api.commands.times import SECONDS
from jobyard.engine.checkout import program
from jobyard.engine.client.sync_client import Client
from jobyard.engine.errors import JobyardError
from jobyard.engine.jobs.dependency_fields import RUN_IF
from jobyard.engine.jobs.submission import TaskDefaults
from jobyard.engine.words import counted

FILE_RETRY_S = 300.0
"""How long the submission of a file keeps trying while the service is unavailable."""
CHUNK = 500
STORED = re.compile(r"the first \d+ jobs are stored")
BATCH_INDEX = re.compile(r"jobs\[(\d+)\](: )?")


@click.command("submit")
@click.argument("task", required=False, shell_complete=complete_task)
@click.option("--payload", metavar="JSON", help="The payload as JSON; @FILE reads it from a file, - from stdin.")
@click.option("--delay", "delay_s", type=SECONDS, help="Run no earlier than this long from now (90, 5m, 2h, 1.5d).")
@click.option("--at", "scheduled_at", metavar="TIME", help="Run no earlier than this time (RFC 3339 with a time zone).")
@click.option("--priority", help="0 to 9, 9 runs first; or low, normal, high.")
@click.option("--queue", help="The queue (default: default).")
@click.option("--max-retries", type=int, help="How many times a failed job is tried again.")
@click.option("--timeout", "timeout_s", type=SECONDS, help="How long one attempt may run.")
@click.option("--key", help="Idempotency key; with --file, the first part of every job's key.")
@click.option("--unique", metavar="KEY|JSON", help="A key that at most one living job has; true; or an object: key, until, …")
@click.option("--limit", "limits", multiple=True, help="A limit that the job is under: stripe, or customer/7; twice at most.")
@click.option(
    "--after", multiple=True, metavar="JOB|group:NAME", help="Begin when this job, or this group, has ended; can be given again."
)
@click.option("--run-if", type=click.Choice(RUN_IF), help="With --after: what must have become of it (default: completed).")
@click.option("--group", help="Be a member of this group.")
@click.option("--tag", "tags", multiple=True, help="A tag to find the job by; may be given several times.")
@click.option("--file", "file", metavar="FILE", help="Submit a file of jobs instead, one JSON object per line; - is stdin.")
@click.option("--wait", "waits", is_flag=True, help="Wait until the job has finished; the exit status shows how it ended.")
@with_service
def submit_jobs(
    service: Service, task: str | None, payload: str | None, key: str | None, file: str | None, waits: bool, priority: str | None,
    unique: str | None, tags: Sequence[str], after: Sequence[str], limits: Sequence[str], **options: Any,
) -> None:  # fmt: skip
    """Submit a job, or a file of jobs, and print their ids.

    A file is checked as a whole before its first job is submitted; blank lines are skipped. Its jobs get idempotency keys made of
    the file's content (or of --key) and their position. So when the command or the service dies in the middle, run it again: no
    job is stored twice. To submit the same file again on purpose, pass another --key. If its jobs have refs, all of them are
    submitted in one request.

    \b
    Examples: jobyard submit resize --payload '{"path": "a.png"}' --priority high
              jobyard submit report --delay 2h --wait
              jobyard submit --file jobs.ndjson
    """
    fields = {name: value for name, value in options.items() if value is not None} | _unique(unique)
    fields |= ({} if priority is None else {"priority": read_priority(priority)}) | ({"tags": list(tags)} if tags else {})
    fields |= {"limit": list(limits)} if limits else {}
    fields |= {"after": [_dependency(text) for text in after]} if after else {}
    if file is not None:
        if task or payload or fields or waits:
            raise click.UsageError("--file can be combined with --key only: each line of the file is a complete job")
        _submit_file(service, file, key)
        return
    what = None if payload is None else read_payload(payload)
    job_id = service.client(retry_s=30).submit(task or "echo", what, idempotency_key=key, **fields)
    if waits:
        if not service.as_json:
            click.echo(job_id, err=True)
        sys.exit(wait_and_report(service, [job_id], None))
    print_json({"job_id": job_id}) if service.as_json else click.echo(job_id)


def _dependency(text: str) -> str | dict[str, str]:
    is_group, name = text.startswith("group:"), text.removeprefix("group:")
    return {"group": name} if is_group else name


def _unique(text: str | None) -> dict[str, Any]:
    """A text that is no JSON object, true or false is a key."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {"unique": text}
    return {"unique": value if isinstance(value, dict | bool) else text}


def _submit_file(service: Service, name: str, key: str | None) -> None:
    with JobFile(name) as file:
        client = service.client(retry_s=FILE_RETRY_S)
        file.check(_tasks_of(client))
        prefix = key or file.digest
        with progress_bar(len(file.line_numbers), "submitting") as bar:
            try:
                jobs = _counted(file.jobs(), bar)
                if file.has_refs:  # they are looked for in one request only
                    job_ids = client.submit_batch(jobs, idempotency_key=prefix)
                else:
                    job_ids = client.submit_many(jobs, chunk=CHUNK, idempotency_key=prefix)
            except JobyardError as wrong:
                raise _with_line(wrong, file, prefix) from wrong.__cause__
    if service.as_json:
        print_json({"job_ids": job_ids})
        return
    for job_id in job_ids:
        click.echo(job_id)
    click.echo(f"{counted(len(job_ids), 'job is', 'jobs are')} stored", err=True)


def _tasks_of(client: Client) -> dict[str, TaskDefaults]:
    return {row["task"]: TaskDefaults() for row in client.ask("GET", "/api/tasks")}


def _counted(jobs: Iterator[dict[str, Any]], bar: Any) -> Iterator[dict[str, Any]]:
    for job in jobs:
        bar.update(1)
        yield job


def _with_line(wrong: JobyardError, file: JobFile, key: str) -> JobyardError:
    """The error with a line number instead of the job's index, and with the command that resumes."""
    found = BATCH_INDEX.search(wrong.message)
    if found is not None:
        wrong.message = f"line {file.line_numbers[int(found[1])]}: {BATCH_INDEX.sub('', wrong.message, 1)}"
    stored = [note for note in getattr(wrong, "__notes__", ()) if STORED.match(note)]
    if stored:
        again = shlex.join((program("jobyard"), "submit", "--file", file.name, "--key", key))
        wrong.__notes__ = [f"{stored[0].partition(';')[0]}; to store the rest, and none of them twice: {again}"]
    return wrong
