"""`migrate` and `backup`: operations on the database itself, without the service."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jobyard.api.commands.database_location import DatabaseLocation, open_database, refuse_running
from jobyard.engine.checkout import default_data_dir
from jobyard.engine.config import read_settings
from jobyard.engine.databases.migration import migrate
from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.errors import CannotStart, JobyardError
from jobyard.engine.logs import Log
from jobyard.engine.store.sqlite.backup import back_up
from jobyard.engine.supervisor.role_loop import EXIT_CANNOT_START
from jobyard.engine.words import counted
from jobyard.engine.world import World


@click.command("migrate")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--mongo-db", default="job_scheduler", show_default=True, help="Name of the database on MongoDB.")
@click.option("--mongo-uri", envvar="MONGO_URI", hidden=True)
@click.option("--stopped", is_flag=True, help="Assume that nothing runs on the MongoDB, whatever the heartbeats of its hosts say.")
def migrate_command(source: str, target: str, mongo_db: str, mongo_uri: str | None, stopped: bool) -> None:
    """Copy all jobs and executions FROM one database TO another.

    Each is a file such as var/jobyard.sqlite, an address that begins with mongodb://, or the word mongodb for what MONGO_URI says.

    Nothing may run on either database. Jobs that are in TO already stay as they are, so an interrupted copy can simply be started
    again. At the end every job is compared.
    """
    world = World()
    try:
        places = [DatabaseLocation.of(words, mongo_db=mongo_db, mongo_uri=mongo_uri) for words in (source, target)]
        if places[0] == places[1]:
            raise CannotStart("FROM and TO are the same")
        if places[0].file is not None and not places[0].file.exists():
            raise CannotStart(f"there is no database at {places[0].file}")
        with open_database(places[0]) as one, open_database(places[1]) as other:
            for place, store in zip(places, (one, other), strict=True):
                refuse_running(place, store, world, assume_stopped=stopped)
            total = 2 * sum(one.counts().values())
            with click.progressbar(length=total, label="copying and comparing", file=sys.stderr) as bar:
                done = migrate(one, other, settings=read_settings({}), world=world, log=Log(world, fd=2), progress=bar.update)
        there = done.jobs - done.copied
        jobs = counted(done.jobs, "job is", "jobs are")
        click.echo(f"{jobs} in {places[1]}: {done.copied} copied now, {there} there before, all compared")
        if done.recovered:
            recovered = counted(done.recovered, "of them was", "of them were")
            click.echo(f"{recovered} held by a system that is gone: pending again")
    except JobyardError as fault:
        click.echo(f"jobyard cannot migrate: {fault.message}", err=True)
        sys.exit(EXIT_CANNOT_START)


@click.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--data-dir", envvar="DATA_DIR", default=default_data_dir, show_default=True, type=click.Path(path_type=Path),
    help="Where the database is.",
)  # fmt: skip
def backup_command(target: Path, data_dir: Path) -> None:
    """Copy the embedded database, as it stands at one moment, to a new FILE; whether Jobyard runs or not.

    To restore it: stop Jobyard, move the database and its log (jobyard.sqlite*) away, put FILE in their place, start.
    """
    try:
        jobs = back_up(data_dir / DATABASE_FILE, target)
    except JobyardError as fault:
        click.echo(f"jobyard cannot back up: {fault.message}", err=True)
        sys.exit(EXIT_CANNOT_START)
    click.echo(f"{counted(jobs, 'job is', 'jobs are')} in {target}")
