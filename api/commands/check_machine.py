"""The checks of `doctor` on this machine, whether Jobyard runs or not. They create, change and lock nothing.

What a start would refuse is checked by the code that a start uses, and reported in the same words.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

import psutil

from jobyard.api.commands.findings import Finding, broken, fine, warning
from jobyard.api.front.connections import DESCRIPTORS
from jobyard.api.start.command_line import START_ALL
from jobyard.api.start.task_modules import find_task_code, import_tasks_once
from jobyard.engine.checkout import program
from jobyard.engine.config import Settings
from jobyard.engine.databases.open import DATABASE_FILE, examine_store
from jobyard.engine.errors import CannotStart
from jobyard.engine.extras import SERVER, how_to_add, missing_from
from jobyard.engine.store.port import CAUTION
from jobyard.engine.store.sqlite.engine import is_sound, words
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.supervisor.ports import advice_on_clients, explain, given_to_clients, open_ports
from jobyard.engine.topology import FIRST_PORTS, GATEWAY, ROLES, all_components
from jobyard.engine.version import version
from jobyard.engine.words import counted
from jobyard.engine.world import World

GIB = 1 << 30
LOW_DISK_BYTES, FULL_DISK_BYTES = GIB, 64 << 20
MIN_FREE_FILES = 1000
PROCESS_BYTES = 30 << 20
"""Roughly what an executor uses before its task does anything."""
ANSWER_S = 1.0
EARLIEST_YEAR = 2025
"""A machine whose clock has no battery boots in 1970."""
PACKAGES = ("flask", "gunicorn", "pymongo", "httpx", "msgspec", "psutil")


def look_at_versions(missing: Callable[[], list[str]] = lambda: missing_from(SERVER)) -> Iterator[Finding]:
    """The versions of Python, SQLite, the packages and the kernel. `missing`: what a start would refuse to run with."""
    if unfit := missing():
        told, _, remedy = how_to_add(SERVER, unfit).partition(": ")
        yield broken("versions", told, remedy)
    packages = ", ".join(f"{name} {_version_of(name)}" for name in PACKAGES)
    message = f"Python {platform.python_version()}, Jobyard {version()}, {words()}, {packages}, Linux {platform.release()}"
    if is_sound():
        yield fine("versions", message)
    else:
        yield warning("versions", message, "install pysqlite3 into the environment (.venv/bin/pip install pysqlite3), then restart")


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def look_at_tasks(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the modules of TASKS can be imported; tried in a template process of its own."""
    try:
        code = find_task_code(settings, environment)
        ready = import_tasks_once(settings, code)
    except CannotStart as wrong:
        yield broken("tasks", wrong.message, "correct the module, or TASKS; they are found on PYTHONPATH and in the working folder")
        return
    for text in ready.warnings:
        yield warning("tasks", text, "correct TASKS, or the module")
    modules = ", ".join(settings.tasks) or "no modules of yours (TASKS is not set)"
    yield fine("tasks", f"{counted(len(ready.tasks), 'task')}, from {modules}, by {code.python}")


# ---- the data folder and its disk


def look_at_folder(settings: Settings) -> Iterator[Finding]:
    """Whether it is usable, who uses it, and who can read it."""
    folder = settings.data_dir
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            yield fine("folder", f"{folder} does not exist yet and will be created")
        else:
            yield broken("folder", f"{folder} cannot be created: {above} is not writable", "set DATA_DIR to a folder of yours")
        return
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield broken("folder", f"{folder} is not a folder that this user can write", "correct that, or set DATA_DIR to another")
        return
    users = ", ".join(map(str, DataDir(folder).occupants()))
    yield fine("folder", f"{folder}, used by {users}" if users else f"{folder}, not in use")
    yield from _who_can_read(folder)


def _who_can_read(folder: Path) -> Iterator[Finding]:
    for path in (folder, *(found for suffix in ("", "-wal", "-shm") if (found := folder / (DATABASE_FILE + suffix)).exists())):
        about = path.stat()
        if about.st_uid != os.geteuid():
            yield warning(
                "folder", f"{path} belongs to uid {about.st_uid}, not to this user ({os.geteuid()})",
                "run all of Jobyard's commands as one user",
            )  # fmt: skip
        elif about.st_mode & 0o007 or (about.st_mode & 0o020):
            mode = "700" if path.is_dir() else "600"
            yield warning("folder", f"other users can access {path} (mode {about.st_mode & 0o777:o})", f"chmod {mode} {path}")


def look_at_disk(settings: Settings) -> Iterator[Finding]:
    """Its free space; on a full disk no job is lost, but none is accepted."""
    folder = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    message = f"{_size(free)} of {_size(disk.f_blocks * disk.f_frsize)} are free below {folder}"
    remedy = "free some space, lower RETENTION_S and RETENTION_FAILED_S so that less is kept, or move DATA_DIR"
    if free < FULL_DISK_BYTES:
        yield broken("disk", message, remedy)
    elif free < LOW_DISK_BYTES:
        yield warning("disk", message, remedy)
    elif disk.f_files and disk.f_favail < MIN_FREE_FILES:
        yield warning("disk", f"{message}, but only {disk.f_favail} more files can be created there", "remove unneeded files")
    else:
        yield fine("disk", message)


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number >> 20} MiB"


# ---- the limits of the machine


def look_at_limits(settings: Settings) -> Iterator[Finding]:
    """Descriptors, processes, memory: whether they are enough for everything that a start would start."""
    processes = 8 + settings.schedulers + settings.watchers + settings.workers * (1 + settings.concurrency)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if files not in (resource.RLIM_INFINITY,) and files < DESCRIPTORS:
        yield warning(
            "limits", f"a process may open {files} files, so the front serves only {files // 2} clients at once",
            f"raise the limit to {DESCRIPTORS}: ulimit -Hn, or LimitNOFILE= of the service",
        )  # fmt: skip
    if most != resource.RLIM_INFINITY and most < 2 * processes and os.geteuid():
        yield warning(
            "limits", f"this user may have {most} processes, and Jobyard needs about {processes}",
            "raise the limit (ulimit -u, or TasksMax= of the service), or lower CONCURRENCY or WORKERS",
        )  # fmt: skip
    free, needed = psutil.virtual_memory().available, processes * PROCESS_BYTES
    if free < needed and not DataDir(settings.data_dir).occupants():
        yield warning(
            "limits", f"{free / GIB:.1f} GiB of memory are free, and {processes} processes may take {needed / GIB:.1f} GiB",
            "lower CONCURRENCY or WORKERS, or add memory",
        )  # fmt: skip
    yield fine("limits", f"{_count(files)} files per process, {_count(most)} processes, {free / GIB:.1f} GiB of memory are free")


def _count(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else str(limit)


def look_at_ports(settings: Settings) -> Iterator[Finding]:
    """Whether the ports of a running Jobyard answer; if none runs, whether they are free."""
    expected = sorted(component.port for component in all_components(settings))
    served = _served(DataDir(settings.data_dir), settings)
    if not served:
        yield from _look_at_free_ports(settings, expected)
    elif silent := [port for port in served if not _answers(settings.host, port)]:
        remedy = f"see the log for the front (gateway); {program('stop-all')} and a new start repair it"
        yield broken("ports", f"there is no answer on {_spans(silent)} of {settings.host}, although Jobyard runs", remedy)
    elif not set(served) <= set(expected):
        yield warning(
            "ports", f"the Jobyard on the data folder serves {_spans(served)}; the settings here say {_spans(expected)}",
            "run this command with the same PORT_OFFSET, SCHEDULERS, WATCHERS and WORKERS as the start",
        )  # fmt: skip
    else:
        yield fine("ports", f"{_spans(served)} on {settings.host} answer")


def _look_at_free_ports(settings: Settings, expected: list[int]) -> Iterator[Finding]:
    listeners, faults = open_ports(settings.host, expected)
    for sock in listeners.values():
        sock.close()
    for fault in explain(settings.host, faults):
        message, _, remedy = fault.partition(": ")
        yield broken("ports", message, remedy)
    if passing := given_to_clients(expected):
        message = f"another program's outgoing connection may have {_spans(passing)} when Jobyard starts"
        yield warning("ports", message, advice_on_clients())
    elif not faults:
        yield fine("ports", f"{_spans(expected)} on {settings.host} are free")


def _served(data_dir: DataDir, settings: Settings) -> list[int]:
    """The ports of what runs on the folder, the gateway's included if it was started, although it has no socket there."""
    who = {occupant.who for occupant in data_dir.occupants()}
    if not who:
        return []
    names = [name for role in ROLES for name in data_dir.run_dir.components(role)]
    gateways = [name for name in who if name.startswith(f"{GATEWAY}-")]
    ports = {int(name.rpartition("-")[2]) for name in (*names, *gateways)}
    if START_ALL in who and ports <= {component.port for component in all_components(settings)}:
        ports.add(FIRST_PORTS[GATEWAY] + settings.port_offset)
    return sorted(ports)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except OSError:
        return False
    return True


def _spans(ports: list[int]) -> str:
    """`6000, 7001-7003`."""
    spans: list[list[int]] = []
    for port in ports:
        if spans and port == spans[-1][-1] + 1:
            spans[-1].append(port)
        else:
            spans.append([port])
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)


# ---- the database, the clock


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """Which database is used, and whether it passes a quick check. Raises `CannotStart`."""
    words, *cautions = examine_store(settings).split(CAUTION)
    yield fine("database", words)
    for caution in cautions:
        yield warning("database", caution, "see docs/mongodb.md")


def look_at_clock(settings: Settings) -> Iterator[Finding]:
    """Whether the clock can be right: not earlier than this program, nor than its last write to the database."""
    now = World().now()
    database = settings.data_dir / DATABASE_FILE
    written_s = database.stat().st_mtime - now.timestamp() if settings.mongo_uri is None and database.exists() else 0.0
    remedy = "set the clock (timedatectl set-ntp true); it only decides when jobs are due"
    if now.year < EARLIEST_YEAR:
        yield broken("clock", f"it shows {now:%Y-%m-%d %H:%M} UTC", remedy)
    elif written_s > 1:
        yield warning("clock", f"the database was written {written_s:.0f} s in the future", remedy)
    else:
        yield fine("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC; time zones make no difference")
