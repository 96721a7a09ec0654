"""Hostile tasks: each tries to harm more than itself."""

from __future__ import annotations

import asyncio
import decimal
import gc
import io
import locale
import mmap
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from system_tasks import LOOK_EVERY_S, note

from jobyard import on_child_start, task

FOREVER_S = 600
MIB = 1 << 20
NEVER_MATCHES = "a" * 60 + "!"


@task("multiply")
def multiply(payload: Any) -> int:
    """A fork bomb: all processes fork as fast as they can until there are `limit`; then the task returns, and they stay."""
    born = mmap.mmap(-1, mmap.PAGESIZE)
    note(payload, "begin")
    me = os.getpid()
    while born[0] < payload["limit"]:
        if os.fork() == 0:
            born[0] += 1
            if payload.get("flees"):
                os.setsid()
        time.sleep(0)
    if os.getpid() != me or payload.get("stays"):
        time.sleep(FOREVER_S)
    return min(born[0], payload["limit"])


@task("hog")
def hog(payload: Any) -> None:
    """Takes more and more memory."""
    note(payload, "begin")
    taken = []
    while True:
        taken.append(b"x" * MIB)
        time.sleep(LOOK_EVERY_S)


@task("daemonise")
def daemonise(payload: Any) -> None:
    """Leaves a proper daemon behind: two forks, a session of its own, nothing shared, ignoring SIGTERM."""
    read_fd, write_fd = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write_fd, str(os.getpid()).encode())
            os.closerange(0, 4096)
            time.sleep(FOREVER_S)
        os._exit(0)
    note(payload, "begin", child=int(os.read(read_fd, 20)))
    match payload["then"]:
        case "die":
            os._exit(0)
        case "stay":
            time.sleep(FOREVER_S)


@task("swallow")
def swallow(payload: Any) -> None:
    """Swallows every exception."""
    note(payload, "begin")
    while True:
        try:
            time.sleep(LOOK_EVERY_S)
        except BaseException:
            pass


@task("shout")
def shout(payload: Any) -> str:
    """Prints `mib` MiB through every output channel."""
    note(payload, "begin")
    line = "z" * 1023 + "\n"
    for _ in range(payload["mib"] // 2):
        sys.stdout.write(line * 1024)
        os.write(2, line.encode() * 1024)
    return "said it all"


@task("descend")
def descend(payload: Any) -> None:
    """Recurses without end; with `limit`, beyond the size of the stack."""
    note(payload, "begin")
    if "limit" in payload:
        sys.setrecursionlimit(payload["limit"])

    def deeper(depth: int) -> int:
        return max(map(deeper, [depth + 1]))  # through C, otherwise the frames would be on the heap

    deeper(0)


@task("raise_base")
def raise_base(payload: Any) -> None:
    """Raises a `BaseException` that is not an `Exception`."""
    note(payload, "begin")
    raise {"KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit, "SystemExit": SystemExit}[payload["name"]]()


@task("spoil")
def spoil(payload: Any) -> int:
    """Changes all state that the next job in the process would share and that can be restored; returns its pid."""
    note(payload, "begin")
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.01)
    os.chdir("/")
    os.umask(0)
    os.environ.clear()
    os.environ["SPOILED"] = "1"
    sys.setrecursionlimit(100)
    return os.getpid()


@task("pid")
def pid(payload: Any) -> int:
    """Its process."""
    return os.getpid()


class Unflushable(io.StringIO):
    """A stream that raises what is no `Exception`."""

    def flush(self) -> None:
        raise SystemExit("no flush")


POOLS: list[Any] = []


def start_pool() -> None:
    """A pool of processes that the module keeps."""
    POOLS.append(ProcessPoolExecutor(1))
    POOLS[0].submit(os.getpid).result()


@task("settings")
def settings(payload: Any) -> list[object]:
    """The interpreter's settings; changes them."""
    found = [gc.isenabled(), gc.get_threshold(), sys.getswitchinterval(), sys.get_int_max_str_digits(), sys.getprofile() is None]
    gc.disable()
    gc.set_threshold(1)
    sys.setswitchinterval(1)
    sys.set_int_max_str_digits(0)
    sys.setprofile(lambda *event: None)
    return found


@on_child_start
def configure() -> None:
    """What a child sets up for all of its jobs."""
    os.environ["CONFIGURED"] = "yes"


@task("configured")
def configured(payload: Any) -> str | None:
    """What `configure` has set."""
    return os.environ.get("CONFIGURED")


@task("ruin")
def ruin(payload: Any) -> int:
    """Changes what cannot be undone, one thing of several; its pid."""
    changes: dict[str, Callable[[], object]] = {
        "stdout": lambda: sys.stdout.close(),
        "stderr": lambda: setattr(sys, "stderr", None),
        "niceness": lambda: os.nice(1),
        "limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
        "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
        "zone": lambda: time.tzset(),
        "flush": lambda: setattr(sys, "stdout", Unflushable()),
        "loop": lambda: asyncio.get_event_loop().close(),
        "pool": start_pool,
    }
    changes[payload["what"]]()
    return os.getpid()


@task("abandon_async")
async def abandon_async(payload: Any) -> str:
    """Returns while a subprocess of its event loop lives."""
    await asyncio.create_subprocess_exec("sleep", str(FOREVER_S))
    return "returned"


@task("abandon")
def abandon(payload: Any) -> str:
    """Returns while somebody else waits for its processes: a thread, a pool of the module, a thread that reaps everything."""
    match payload["to"]:
        case "thread":
            begun = threading.Event()
            threading.Thread(target=lambda: (begun.set(), subprocess.run(["sleep", str(FOREVER_S)])), daemon=True).start()
            begun.wait()
        case "pool":
            POOLS.append(multiprocessing.get_context("fork").Pool(2))
            POOLS[-1].map(abs, range(4))
        case "reaper":
            threading.Thread(target=reap_for_ever, daemon=True).start()
            subprocess.Popen(["sleep", str(FOREVER_S)])
    return "returned"


def reap_for_ever() -> None:
    """Takes every exit status away from whoever waits for it."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(LOOK_EVERY_S)


@task("precision")
def precision(payload: Any) -> int:
    """What it finds; it leaves another one."""
    found = decimal.getcontext().prec
    decimal.getcontext().prec = 5
    return found


LOOPS: list[object] = []


@task("loop")
async def loop(payload: Any) -> bool:
    """Whether it is the same event loop as in the job before in this child, and works."""
    await asyncio.sleep(0)
    LOOPS.append(asyncio.get_running_loop())
    return LOOPS[0] is LOOPS[-1]


@task("look")
def look(payload: Any) -> dict[str, object]:
    """Returns the state that it finds, and its pid."""
    note(payload, "begin")
    print("it can print")
    mask = os.umask(0o077)
    os.umask(mask)
    handlers = {number.name: str(signal.getsignal(number)) for number in signal.Signals}
    return {
        "pid": os.getpid(), "folder": os.getcwd(), "umask": mask, "environment": dict(os.environ),
        "handlers": {name: handler.partition(" at ")[0] for name, handler in handlers.items()},
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "timer": signal.getitimer(signal.ITIMER_VIRTUAL),
        "depth": sys.getrecursionlimit(),
    }  # fmt: skip


@task("compute")
def compute(payload: Any) -> None:
    """Never returns from C, where Python's signal handlers (almost) never run, and holds the GIL."""
    note(payload, "begin")
    match payload["how"]:
        case "count":
            deque(count(), maxlen=0)
        case "regular expression":
            re.match("(a+)+$", NEVER_MATCHES)


@task("stop_itself")
def stop_itself(payload: Any) -> None:
    """Stops itself as Ctrl-Z does."""
    note(payload, "begin")
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


@task("poison")
def poison(payload: Any) -> None:
    """Harms its worker; the first time not before a file exists."""
    note(payload, "begin")
    while "after" in payload and not Path(payload["after"]).exists():
        time.sleep(LOOK_EVERY_S)
    os.kill(os.getppid(), payload["signal"])
    time.sleep(payload.get("for_s", 0))
