"""Which service a command asks, and how its errors end the command: one line on stderr and a status of `exits`."""

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
from jobyard.engine.config import read_settings
from jobyard.engine.errors import JobyardError, NotFinished, Unavailable, Unreachable

P = ParamSpec("P")
R = TypeVar("R")
PATIENCE_S = 5.0
"""For how long a person is kept waiting for a service that is away."""

Connect = Callable[..., Client]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnvironment:
    """What the commands are run with: the environment's variables, and what makes a client."""

    environment: Mapping[str, str] = field(default_factory=dict)
    connect: Connect = Client


@dataclass(slots=True, kw_only=True)
class Service:
    """What the options say; the client is made when it is first needed."""

    url: str
    token: str | None = field(repr=False)
    as_json: bool
    connect: Connect
    at_the_end: ExitStack

    def client(self, *, patience_s: float = PATIENCE_S) -> Client:
        """Asks the service; closed when the command ends."""
        try:
            return self.at_the_end.enter_context(self.connect(self.url, self.token, retry_s=patience_s))
        except ValueError as wrong:
            raise click.UsageError(str(wrong)) from None


def service_options(command: Callable[P, R]) -> Callable[P, R]:
    """The options that say which service; before or behind the command's name."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs (lists: one object a line)."),
        click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token; else API_TOKEN is used."),
        click.option("--url", help="The gateway's address; else JOBYARD_URL, else what HOST and PORT_OFFSET say."),
    ):
        command = option(command)
    return command


def make_service(context: click.Context, *, url: str | None, token_file: Path | None, as_json: bool) -> Service:
    """What this command asks, from its options, those before its name, and the environment."""
    given = context.find_object(ChildEnvironment) or ChildEnvironment()
    environment = given.environment
    return Service(
        url=url or environment.get("JOBYARD_URL") or _local_url(environment), token=_token(token_file, environment),
        as_json=as_json, connect=given.connect, at_the_end=context.with_resource(ExitStack()),
    )  # fmt: skip


def asks_service(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first argument is the `Service`; what goes wrong there is told in one line."""

    def asked(context: click.Context, url: str | None, token_file: Path | None, as_json: bool, **options: Any) -> None:
        with tell_errors():
            command(make_service(context, url=url, token_file=token_file, as_json=as_json), **options)

    return service_options(click.pass_context(functools.update_wrapper(asked, command)))


class tell_errors:  # noqa: N801 (read as a statement)
    """Whatever is raised within ends the command with a line and the fitting status."""

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


def _local_url(environment: Mapping[str, str]) -> str:
    here = {name: environment[name] for name in ("HOST", "PORT_OFFSET", "API_TOKEN") if environment.get(name)}
    settings = read_settings(here)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{8080 + settings.port_offset}"


def _token(file: Path | None, environment: Mapping[str, str]) -> str | None:
    if file is None:
        return environment.get("API_TOKEN") or None
    try:
        return file.read_text("utf-8").strip() or None
    except OSError as wrong:
        raise click.UsageError(f"the token file {file} cannot be read: {wrong.strerror}") from None
