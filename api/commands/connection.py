"""Which service a command talks to, and how errors end the command: one line on stderr and a status of `exits`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from jobyard.api.commands import exits
from jobyard.engine.client.sync_client import Client
from jobyard.engine.config import read_token_file
from jobyard.engine.errors import JobyardError, NotFinished, Unavailable, Unreachable
from jobyard.engine.service_address import service_token, service_url
from jobyard.engine.tokens import first_secret

P = ParamSpec("P")
R = TypeVar("R")
RETRY_S = 5.0
"""How long to retry when the service is unavailable while a person waits."""

Connect = Callable[..., Client]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnvironment:
    """What a command runs with: environment variables, and the function that makes a client."""

    environment: Mapping[str, str] = field(default_factory=dict)
    connect: Connect = Client


@dataclass(slots=True, kw_only=True)
class Service:
    """The service that the options name; a client for it is made when it is needed."""

    url: str
    token: str | None = field(repr=False)
    as_json: bool
    connect: Connect
    exit_stack: ExitStack

    def client(self, *, retry_s: float = RETRY_S) -> Client:
        """A client for the service, which is closed when the command ends."""
        try:
            return self.exit_stack.enter_context(self.connect(self.url, self.token, retry_s=retry_s))
        except ValueError as wrong:
            raise click.UsageError(str(wrong)) from None


def service_options(command: Callable[P, R]) -> Callable[P, R]:
    """Adds the options that name the service; they may stand before or after the command's name."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs (lists: one object per line)."),
        click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token; else JOBYARD_TOKEN."),
        click.option("--url", help="The gateway's address; else JOBYARD_URL, else what HOST and PORT_OFFSET say."),
    ):
        command = option(command)
    return command


def make_service(context: click.Context, *, url: str | None, token_file: Path | None, as_json: bool) -> Service:
    """The service that this command's options and the environment name."""
    given = context.find_object(CommandEnvironment) or CommandEnvironment()
    try:
        where = url or service_url(given.environment)
        token = first_secret(read_token_file(token_file)) if token_file else service_token(given.environment)
    except ValueError as wrong:
        raise click.UsageError(str(wrong)) from None
    return Service(
        url=where, token=token, as_json=as_json, connect=given.connect, exit_stack=context.with_resource(ExitStack())
    )  # fmt: skip


def with_service(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the `Service` as its first argument, and reports its errors in one line."""

    def asked(context: click.Context, url: str | None, token_file: Path | None, as_json: bool, **options: Any) -> None:
        with report_errors():
            command(make_service(context, url=url, token_file=token_file, as_json=as_json), **options)

    return service_options(click.pass_context(functools.update_wrapper(asked, command)))


class report_errors:  # noqa: N801 (read as a statement)
    """An error that is raised within ends the command with one line on stderr and the fitting exit status."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.exit(exits.INTERRUPTED)
        if isinstance(error, JobyardError):
            click.echo(f"jobyard: {error.message}", err=True)
            for note in getattr(error, "__notes__", ()):
                click.echo(f"jobyard: {note}", err=True)
            sys.exit(status_of(error))


def status_of(error: JobyardError) -> int:
    """The exit status of an error."""
    if isinstance(error, NotFinished):
        return exits.NOT_FINISHED
    return exits.UNREACHABLE if isinstance(error, Unreachable | Unavailable) else exits.FAILED
