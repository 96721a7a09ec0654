"""The Linux process controls that Jobyard needs and Python lacks, called through the C library (`prctl(2)`, `mallopt(3)`)."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_SET_CHILD_SUBREAPER = 36
M_ARENA_MAX = -8

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """End this process when the parent's forking thread ends; immediately if the parent is already gone."""
    _prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os._exit(70)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """From now on, set-uid programs gain no privileges."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def has_no_new_privileges(pid: int) -> bool:
    """Whether `forbid_new_privileges` holds for a process; False if there is none. Raises `OSError` if no descriptor is free."""
    return "NoNewPrivs:\t1" in _read_proc(pid, "status")


def out_of_memory_score(pid: int) -> int:
    """The process's `oom_score_adj`, which its children inherit; 0 if there is none. Raises `OSError` as above."""
    return int(_read_proc(pid, "oom_score_adj") or 0)


def _read_proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def share_one_heap() -> None:
    """Make all threads allocate from one heap instead of glibc's one heap per thread; for processes whose threads mostly wait."""
    _libc.mallopt(M_ARENA_MAX, 1)


def set_title(title: str) -> None:
    """Set the title that `ps` shows. Where users' code runs, `setproctitle` may be missing; `executor.title` does it there."""
    importlib.import_module("setproctitle").setproctitle(title)


def close_descriptors(*, keep: set[int]) -> None:
    """Close every descriptor except `keep` and the three standard ones. For a freshly forked child."""
    last = 2
    for fd in sorted(keep | {os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 20 else 1 << 20}):
        os.closerange(last + 1, fd)
        last = max(last, fd)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
