"""`logs`: the output of a job's attempts; with `-f`, also what they print from now on."""

from __future__ import annotations

import select

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import CONTROL, print_json
from jobyard.engine.client.sync_client import Client
from jobyard.engine.jobs.lifecycle import TERMINAL

POLL_S = 0.5
SEAM_CHARS = 200
ENDED = {str(status) for status in TERMINAL}


@click.command("logs")
@click.argument("job_id")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new output until the job has finished.")
@with_service
def show_logs(service: Service, job_id: str, follow: bool) -> None:
    """Print the output and log of a job's attempts: the last 64 KiB of each.

    \b
    Example: jobyard logs -f 69541618f7d4e1295bfa447b
    """
    client = service.client(retry_s=60)
    if service.as_json:
        print_json(client.ask("GET", f"/api/jobs/{job_id}/logs"))
        return
    seen: dict[int, str] = {}
    is_last_look = not follow
    while True:
        has_ended = follow and client.ask("GET", f"/job?job_id={job_id}")["status"] in ENDED
        _print_new(client, job_id, seen)
        if is_last_look:
            return
        is_last_look = has_ended  # poll once more: on MongoDB the last output is stored a moment after the end
        select.select([], [], [], POLL_S)


def _print_new(client: Client, job_id: str, seen: dict[int, str]) -> None:
    for row in client.ask("GET", f"/api/jobs/{job_id}/logs")["attempts"]:
        known = seen.get(row["attempt"])
        if known is None and row["output"]:
            cut = ", its beginning is lost" if row["is_cut"] else ""
            click.secho(f"--- attempt {row['attempt']}{cut}", dim=True, err=True)
        if row["output"]:
            click.echo(_safe(fresh(known or "", row["output"])), nl=False)
            seen[row["attempt"]] = row["output"]


def fresh(known: str, output: str) -> str:
    """The output after `known`. Only the end of the output is kept, so its beginning may be gone by now."""
    if output.startswith(known):
        return output[len(known) :]
    seam = output.rfind(known[-SEAM_CHARS:])
    return output[seam + len(known[-SEAM_CHARS:]) :] if seam >= 0 else output


def _safe(text: str) -> str:
    """The text with control characters escaped, except those for colours and tabs."""
    return CONTROL.sub(lambda found: found[0] if found[0] in "\x1b\t\r" else f"\\x{ord(found[0]):02x}", text)
