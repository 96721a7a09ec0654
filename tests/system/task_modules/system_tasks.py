"""Tasks for the system tests: each attempt leaves notes in a file, so that a test knows what ran, when and in which process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

from jobyard import Retry, Unrecoverable, current_job, task

LOOK_EVERY_S = 0.005


def note(payload: Any, what: str, **more: object) -> None:
    """Append a line to the notes."""
    job = current_job()
    line = {"what": what, "attempt": job.attempt, "job_id": job.job_id, "pid": os.getpid(), "worker_pid": worker_pid()}
    times = {"monotonic_s": time.monotonic(), "wall_s": time.time()}
    fd = os.open(payload["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, json.dumps(line | times | {"label": payload.get("label")} | more).encode() + b"\n")
    finally:
        os.close(fd)


def worker_pid() -> int:
    """By the name that this executor's title has before `executor`: no other start has the same ports."""
    title = title_of("self").removesuffix(" executor")
    if title_of(str(WORKER.get(title))) != title:
        WORKER[title] = next((int(pid) for pid in os.listdir("/proc") if pid.isdigit() and title_of(pid) == title), 0)
    return WORKER[title]


def title_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0")
    except OSError:
        return ""


WORKER: dict[str, int] = {}


@task("run")
def run(payload: Any) -> object:
    """Runs for `for_s` and returns `value`."""
    note(payload, "begin")
    time.sleep(payload.get("for_s", 0))
    note(payload, "end")
    return payload.get("value")


@task("run_async")
async def run_async(payload: Any) -> object:
    """The same, as a coroutine."""
    note(payload, "begin")
    await asyncio.sleep(payload.get("for_s", 0))
    return payload.get("value")


@task("hold")
def hold(payload: Any) -> None:
    """Runs until a file exists."""
    note(payload, "begin")
    until = Path(payload["until"])
    while not until.exists():
        time.sleep(LOOK_EVERY_S)
    note(payload, "end")


@task("chat")
def chat(payload: Any) -> None:
    """Prints, logs, reports progress, lets a child print, runs until a file exists, and kills itself."""
    print("\x1b[1mhello")
    logging.getLogger("chat").warning("careful")
    current_job().progress(0.5, "half way")
    subprocess.run([sys.executable, "-c", "print('from below')"], check=True)
    while not Path(payload["until"]).exists():
        time.sleep(LOOK_EVERY_S)
    print("the end", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@task("fail")
def fail(payload: Any) -> str:
    """Fails until its `good_at`-th attempt."""
    note(payload, "begin")
    if current_job().attempt < payload.get("good_at", 1000):
        raise ValueError("not today")
    return "well"


@task("ask_again")
def ask_again(payload: Any) -> str:
    """Raises `Retry` with `delay_s`."""
    note(payload, "begin")
    if current_job().retry_count < payload.get("times", 1):
        raise Retry(delay_s=payload["delay_s"])
    return "well"


@task("give_up")
def give_up(payload: Any) -> None:
    """Raises `Unrecoverable`."""
    note(payload, "begin")
    raise Unrecoverable("no use")


@task("tidy")
def tidy(payload: Any) -> None:
    """Cleans up when its time is over."""
    note(payload, "begin")
    try:
        time.sleep(60)
    finally:
        note(payload, "tidied")


@task("cling")
def cling(payload: Any) -> None:
    """Ignores everything that can be ignored, and has a child that does the same."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", ignoring])
    note(payload, "begin", child=child.pid)
    while True:
        try:
            time.sleep(600)
        except BaseException as asked:
            note(payload, "asked", words=type(asked).__name__)


@task("confess")
def confess(payload: Any) -> None:
    """Waits to be interrupted, and leaves a note of it."""
    note(payload, "begin")
    try:
        time.sleep(600)
    except BaseException as asked:
        note(payload, "asked", words=type(asked).__name__)
        raise


@task("die")
def die(payload: Any) -> None:
    """Ends its own process by a signal or with an exit status."""
    note(payload, "begin")
    if "signal" in payload:
        os.kill(os.getpid(), payload["signal"])
        time.sleep(60)
    os._exit(payload["status"])


@task("give")
def give(payload: Any) -> object:
    """Returns `size` bytes of JSON, or something that is not JSON."""
    note(payload, "begin")
    return object() if payload["size"] is None else "x" * (payload["size"] - 2)


@task("speak")
def speak(payload: Any) -> None:
    """Writes this many bytes to stdout."""
    note(payload, "begin")
    sys.stdout.write("y" * payload["size"])


@task("leave")
def leave(payload: Any) -> None:
    """Asks the interpreter to exit."""
    note(payload, "begin")
    sys.exit(3)


@task("pause")
def pause(payload: float) -> None:
    """Sleeps for this many seconds, and leaves no note."""
    time.sleep(payload)


@task("look_around")
def look_around(payload: Any) -> list[str]:
    """Returns the names of its environment variables."""
    return sorted(os.environ)


@task("close_all")
def close_all(payload: Any) -> None:
    """Closes every descriptor of its process."""
    note(payload, "begin")
    os.closerange(0, 4096)


@task("complain")
def complain(payload: Any) -> None:
    """Prints a message and fails with it."""
    print(payload["words"])
    raise ValueError(payload["words"])


@task("narrate")
def narrate(payload: Any) -> None:
    """Prints, logs and reports progress, then runs until a file exists."""
    print(payload["words"])
    current_job().progress(0.4, "not quite half way")
    until = Path(payload["until"])
    while not until.exists():
        time.sleep(LOOK_EVERY_S)


@task("measure", queue="measures", priority="high")
def measure(*, path: Path, width: int, unit: Literal["mm", "cm"] = "mm") -> str:
    return f"{path.name}: {width} {unit}"


@task("collect")
def collect(payload: Any) -> Any:
    """Returns what it can read of its predecessors, and of the group that its payload names."""
    if not isinstance(payload, str | None):
        raise ValueError("no name of a group")
    job = current_job()
    members = None if payload is None else [list(member) for member in job.group_results(payload)]
    return {"results": dict(job.results), "group": members}
