"""THE settings, one row each. The environment variable, flag, validation, help and README table all come from these rows.

The settings are read once at startup into a frozen `Settings`, which every process receives; no other module reads the
environment. All invalid settings are reported at once, by name, together with what would be valid.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobyard.engine.errors import CannotStart
from jobyard.engine.tokens import API, DEFAULT_NAMES, READ, WORKER, Token, read_tokens

LONG_TOKEN = 32
"""128 bits as hexadecimal digits: the shortest token that is accepted when other hosts can reach the ports."""

ANY_HOST = "*"
HOST_NAME = re.compile(r"\.?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)

MAX_PORT_OFFSET = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: `name` is the environment variable; the flag is the same name in lower case with dashes."""

    name: str
    default: str
    meaning: str
    parse: Callable[[str], object]

    @property
    def flag(self) -> str:
        """`POLL_S` is `--poll-s`."""
        return "--" + self.name.lower().replace("_", "-")

    @property
    def attribute(self) -> str:
        """`POLL_S` is `settings.poll_s`."""
        return self.name.lower()


def _whole(at_least: int, at_most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not at_least <= int(text) <= at_most:
            raise ValueError(f"a whole number from {at_least} to {at_most}")
        return int(text)

    return parse


def _number(at_least: float, at_most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not at_least <= float(text) <= at_most:
            raise ValueError(f"a number from {at_least:g} to {at_most:g}")
        return float(text)

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return parse


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("0 or 1")
    return text == "1"


def _address(text: str) -> str:
    try:
        return "127.0.0.1" if text == "localhost" else str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("an IP address to listen on, such as 127.0.0.1 or 0.0.0.0") from None


def _folder(text: str) -> Path:
    if not text:
        raise ValueError("a folder")
    return Path(text).absolute()


def _modules(text: str) -> tuple[str, ...]:
    names = _words(text)
    if not all(re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*|django:", name) for name in names):
        raise ValueError("comma-separated Python module names, such as myapp.tasks,reports (django: stands for those of its apps)")
    return names


def _queues(text: str) -> tuple[str, ...] | None:
    names = _words(text)
    if not all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in names):
        raise ValueError("comma-separated names of queues, each [A-Za-z0-9_.-]{1,64}")
    return names or None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _hosts(text: str) -> tuple[str, ...]:
    names = _words(text)
    wrong = [name for name in names if name != ANY_HOST and not HOST_NAME.fullmatch(name) and not _is_address(name)]
    if wrong:
        raise ValueError(
            "names or addresses without scheme, port or path, such as jobs.example.com or [::1], `.example.com` for all names"
            " below it, or `*` for any host"
        )
    return names


def _is_address(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return name.startswith("[") == name.endswith("]") == (address.version == 6)


def _time_zone(text: str) -> str:
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("the IANA name of a time zone, such as UTC or Europe/Berlin") from None
    return text


def _optional(text: str) -> str | None:
    return text or None


def _tokens(setting: str) -> Callable[[str], str | None]:
    """The setting's text; `tokens.read_tokens` has its meaning."""

    def parse(text: str) -> str | None:
        return text if read_tokens(setting, text) else None

    return parse


def _optional_path(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def read_token_file(path: Path | str) -> str:
    """The value of `API_TOKEN` in this file, without the space around it; raises `ValueError`."""
    try:
        token = _tokens(API)(Path(path).read_text("utf-8").strip())
    except OSError as fault:
        raise ValueError(f"the token file {path} cannot be read: {fault.strerror}") from None
    except ValueError as wrong:
        raise ValueError(f"the token file {path} must hold {wrong}") from None
    if token is None:
        raise ValueError(f"the token file {path} is empty")
    return token


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(name=name, default=default, parse=parse, meaning=meaning)
    for name, default, parse, meaning in (
        ("MONGO_URI", "", _optional, "MongoDB connection string; unset: the embedded SQLite database in `DATA_DIR`"),
        ("MONGO_DB", "job_scheduler", str, "name of the MongoDB database"),
        ("QUEUES", "", _queues, "comma-separated names of the queues whose jobs this host runs; unset: all"),
        (
            "DATA_DIR",
            "var",
            _folder,
            "folder for the database file, sockets and pid file, relative to the working folder; unset: `var` in the checkout, for"
            " an installed `jobyard` in the working folder",
        ),
        ("HOST", "127.0.0.1", _address, "address to listen on"),
        (
            "PORT_OFFSET",
            "0",
            _whole(0, MAX_PORT_OFFSET),
            "added to every port, so that several instances can run side by side; above 23,700, another program's connection may"
            " have a port",
        ),
        ("SCHEDULERS", "3", _whole(1, 32), "number of schedulers"),
        ("WATCHERS", "3", _whole(1, 32), "number of watchers"),
        ("WORKERS", "3", _whole(1, 64), "number of workers"),
        ("CONCURRENCY", "5", _whole(1, 256), "maximum number of jobs that one worker runs at a time"),
        (
            "TASK_PYTHON",
            "",
            _optional,
            "interpreter that runs the tasks, Python 3.11 or later; unset: that of the active virtual environment (`VIRTUAL_ENV`),"
            " otherwise Jobyard's own",
        ),
        ("TASKS", "", _modules, "comma-separated modules that define your tasks; found on `PYTHONPATH` and in the working folder; "
         "`django:` stands for the `tasks.py` of all Django apps"),
        ("POLL_S", "2", _number(0.05, 3600), "longest interval between two polls of the database by a watcher; jitter is added"),
        ("LEASE_S", "30", _number(1, 86400), "length of a lease; a live worker extends it before it expires"),
        ("RETRY_BASE_S", "10", _number(0, 86400), "retry n is delayed by n² × this"),
        ("TIME_ZONE", "UTC", _time_zone, "the zone of schedules that name none: an IANA name such as `Europe/Berlin`"),
        ("MAX_RETRIES", "5", _whole(0, 100), "default for a job's `max_retries`"),
        ("JOB_TIMEOUT_S", "3600", _number(0.001, 604800), "default for a job's `timeout_s`"),
        ("DRAIN_S", "30", _number(0, 86400), "how long a stop waits for running jobs before it releases them to run again later"),
        ("RETENTION_S", "604800", _number(0, 315360000), "how long completed and cancelled jobs are kept; 0: forever"),
        ("RETENTION_FAILED_S", "2592000", _number(0, 315360000), "how long failed jobs are kept; 0: forever"),
        (
            "MAX_PENDING",
            "10000000",
            _whole(1, 10**12),
            "with more pending and blocked jobs than this, submissions get 503 with `Retry-After`",
        ),
        ("MAX_LOST", "5", _whole(1, 1000), "how many times a job may be lost to a dead worker or host before it is `failed`"),
        ("HANG_S", "10", _number(1, 3600), "a process that sends no heartbeat for this long is replaced"),
        ("MAX_JOBS_PER_CHILD", "0", _whole(0, 10**9), "an executor is replaced after this many jobs; 0: never"),
        ("CHILD_MEMORY_MB", "0", _whole(0, 10**7), "an executor that uses more memory than this is killed; 0: no limit"),
        ("ENABLE_SHELL", "0", _switch, "1 registers the built-in `shell` task"),
        ("HTTP_ALLOW_PRIVATE", "0", _switch, "1 lets the built-in `http` task reach private addresses"),
        ("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", _hosts, "accepted values of the `Host` header, in addition to `HOST`"),
        (
            "API_TOKEN", "", _tokens(API),
            "when set, requests need `Authorization: Bearer …`, except `/health` and the dashboard's files; several tokens are"
            " comma-separated, `name=token` gives one a name for the log",
        ),
        ("READ_TOKEN", "", _tokens(READ), "tokens, likewise, that are good for GET requests only: the dashboard, lists, metrics"),
        ("WORKER_TOKEN", "", _tokens(WORKER), "tokens, likewise, that are good for leases only"),
        ("TOKEN_FILE", "", _optional_path, "file that holds the token; used when neither `API_TOKEN` nor `JOBYARD_TOKEN` is set"),
        ("LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error"), "lowest level that is logged"),
        ("LOG_FORMAT", "text", _one_of("text", "json"), "`json` writes one JSON object per line"),
    )
)


SECRET = (API, READ, WORKER, "MONGO_URI")
"""Settings whose values are never shown."""
OTHER_NAMES = {"API_TOKEN": "JOBYARD_TOKEN"}
"""The client's name for the same value; in the environment, a setting may have either name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parsed values of the settings above; the attributes are their names in lower case."""

    mongo_uri: str | None = dataclasses.field(repr=False)
    mongo_db: str
    queues: tuple[str, ...] | None
    data_dir: Path
    host: str
    port_offset: int
    schedulers: int
    watchers: int
    workers: int
    concurrency: int
    tasks: tuple[str, ...]
    task_python: str | None
    poll_s: float
    lease_s: float
    retry_base_s: float
    max_retries: int
    job_timeout_s: float
    drain_s: float
    retention_s: float
    retention_failed_s: float
    time_zone: str
    max_pending: int
    max_lost: int
    hang_s: float
    max_jobs_per_child: int
    child_memory_mb: int
    enable_shell: bool
    http_allow_private: bool
    allowed_hosts: tuple[str, ...]
    api_token: str | None = dataclasses.field(repr=False)
    read_token: str | None = dataclasses.field(repr=False)
    worker_token: str | None = dataclasses.field(repr=False)
    token_file: Path | None
    log_level: str
    log_format: str

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens that clients may send."""
        texts = {API: self.api_token, READ: self.read_token, WORKER: self.worker_token}
        return tuple(token for setting, text in texts.items() for token in read_tokens(setting, text))


def read_settings(environment: Mapping[str, str], flags: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment and the flags; flags win. Raises `CannotStart`, which names every invalid setting."""
    faults: list[str] = []
    asked = _merge(environment, flags or {}, faults)
    values: dict[str, object] = {}
    for setting in SETTINGS:
        text = asked.get(setting.name, "") or setting.default
        try:
            values[setting.attribute] = setting.parse(text)
        except ValueError as wrong:
            shown = "…" if setting.name in SECRET else repr(text)
            faults.append(f"{setting.name} must be {wrong}, not {shown}")
    _read_token(values, faults)
    if not faults:
        faults += _exposed(values)
    if faults:
        raise CannotStart("; ".join(faults))
    return Settings(**values)  # type: ignore[arg-type]


def _merge(environment: Mapping[str, str], flags: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """Both, by the settings' own names."""
    asked = dict(environment)
    for name, other in OTHER_NAMES.items():
        if asked.get(other) and asked.get(name) and asked[other] != asked[name] and name not in flags:
            faults.append(f"{name} and {other} are two names of one setting, and differ: set one of them")
        asked[name] = asked.get(name) or asked.get(other, "")
    if flags.get("TOKEN_FILE"):
        asked["API_TOKEN"] = ""
    return asked | dict(flags)


def _read_token(values: dict[str, object], faults: list[str]) -> None:
    """A token that is given itself wins over a file."""
    path = values.get("token_file")
    if not values.get("api_token") and isinstance(path, Path):
        try:
            values["api_token"] = read_token_file(path)
        except ValueError as wrong:
            faults.append(str(wrong))


def _exposed(values: Mapping[str, object]) -> list[str]:
    """What would let anyone run jobs here, or do more than the settings say."""
    tokens = [token for name in DEFAULT_NAMES for token in read_tokens(name, values[name.lower()])]  # type: ignore[arg-type]
    has_api_token, hosts = bool(values["api_token"]), values["allowed_hosts"]
    faults = [
        f"{name} needs an API_TOKEN: without one, no request needs a token at all"
        for name in (READ, WORKER) if values[name.lower()] and not has_api_token
    ]  # fmt: skip
    settings_of = {token.secret: [one.setting for one in tokens if one.secret == token.secret] for token in tokens}
    faults += [f"{' and '.join(names)} share a token: each needs its own" for names in settings_of.values() if len(names) > 1]
    short = [token.setting for token in tokens if len(token.secret) < LONG_TOKEN] if has_api_token else [API]
    if not ipaddress.ip_address(str(values["host"])).is_loopback and short:
        faults.append(
            f"HOST {values['host']} is not a loopback address, so {short[0]} must be set, with {LONG_TOKEN} characters or more:"
            " without a token, anyone who can reach it could run jobs"
        )
    if isinstance(hosts, tuple) and ANY_HOST in hosts and not has_api_token:
        faults.append("ALLOWED_HOSTS * needs an API_TOKEN: without one, any web page could run jobs here by DNS rebinding")
    return faults
