"""The command line of `bin/start-all`, `bin/start` and `bin/stop-all`. Flags are the settings' names in lower case with dashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobyard.engine.checkout import program
from jobyard.engine.config import SETTINGS
from jobyard.engine.errors import CannotStart
from jobyard.engine.topology import FIRST_PORTS, ROLES

START_ALL, START, STOP_ALL = "start-all", "start", "stop-all"

SUMMARIES = {
    START_ALL: "Starts the whole system in the foreground. SIGTERM or Ctrl-C drains and stops it; a second one kills it at once.",
    START: "Starts one component. Components find each other through the data folder. It listens on PORT + PORT_OFFSET.",
    STOP_ALL: "Stops everything that runs on the data folder, and waits until it has ended.",
}
NAME_WIDTH = 20
RELOAD = "--reload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A parsed command line; `flags` are keyed by the settings' names."""

    name: str
    role: str
    flags: dict[str, str]
    wants_help: bool
    wants_reload: bool = False


def read_command_line(words: Sequence[str]) -> Command:
    """Parse the command line; raises `CannotStart` with a message of one line."""
    if not words or words[0] not in SUMMARIES:
        raise CannotStart(f"the first argument must be one of {', '.join(SUMMARIES)}")
    name, rest = words[0], list(words[1:])
    wants_help = any(word in ("-h", "--help") for word in rest)
    role = ""
    if name == START and not wants_help:
        role = rest.pop(0) if rest and not rest[0].startswith("-") else ""
        if role not in ROLES:
            raise CannotStart(f"{program(START)} expects one of {', '.join(ROLES)}, not {role!r}; see {program(START)} --help")
    wants_reload = name != STOP_ALL and RELOAD in rest
    rest = [word for word in rest if word != RELOAD] if wants_reload else rest
    flags = {} if wants_help else _read_flags(name, rest)
    return Command(name=name, role=role, flags=flags, wants_help=wants_help, wants_reload=wants_reload)


def help_text(name: str) -> str:
    """The usage and the table of settings."""
    role = " ROLE" if name == START else ""
    lines = [f"usage: {program(name)}{role} [--flag value]…", "", SUMMARIES[name], ""]
    if name == START:
        lines += ["ROLE, with its default PORT: " + ", ".join(f"{role} {port}" for role, port in FIRST_PORTS.items()), ""]
    lines += ["Settings: each is an environment variable and a flag; the flag takes precedence.", ""]
    lines += [
        f"  {setting.name:<{NAME_WIDTH}}{setting.flag:<{NAME_WIDTH + 2}}{setting.meaning} (default: {setting.default or 'unset'})"
        for setting in SETTINGS
    ]
    if name != STOP_ALL:
        lines.append(f"  {RELOAD:<{2 * NAME_WIDTH + 2}}reload the task modules whenever one of their files changes")
    last = (("-h, --help", "show this text"), ("--version", "show the version of Jobyard"))
    return "\n".join([*lines, *(f"  {flag:<{2 * NAME_WIDTH + 2}}{meaning}" for flag, meaning in last)])


def _read_flags(name: str, words: list[str]) -> dict[str, str]:
    known = {setting.flag: setting.name for setting in SETTINGS}
    if name == START:
        known["--port"] = "PORT"
    flags: dict[str, str] = {}
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag not in known:
            raise CannotStart(f"unknown argument {flag!r}; see {program(name)} --help")
        if not equals:
            if not words:
                raise CannotStart(f"{flag} needs a value; see {program(name)} --help")
            value = words.pop(0)
        flags[known[flag]] = value
    return flags
