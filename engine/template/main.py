"""The main function of a template: import the user's modules, undo their changes to the process, fork executors until retired."""

from __future__ import annotations

import gc
import importlib
import os
import signal
from dataclasses import asdict
from socket import socket

from jobyard.engine.executor.child_environment import HANDLERS
from jobyard.engine.executor.inherited import flush_open_files, tcp_peers
from jobyard.engine.executor.packets import send_packet
from jobyard.engine.executor.title import set_title
from jobyard.engine.executor.touch_watch import WATCH
from jobyard.engine.process_control import die_with_parent
from jobyard.engine.tasks.builtin import register_builtin
from jobyard.engine.tasks.declared_limits import DECLARED_LIMITS
from jobyard.engine.tasks.declared_schedules import DECLARED
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.template import messages
from jobyard.engine.template.messages import ImportFailed, Importing, Ready
from jobyard.engine.template.options import Options
from jobyard.engine.template.task_modules import NotImported, files_of_the_user, import_all, traceback_of
from jobyard.engine.template.template import EXIT_IMPORT_FAILED, Template
from jobyard.engine.template.user_path import use_folders
from jobyard.engine.world import World

IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE)
"""The supervisor alone ends a template. SIGUSR1 may reach an executor before it has installed its handler; it checks the interrupt
page before each job anyway."""

_handler_of, _set_handler, _set_mask, _set_timer = signal.getsignal, signal.signal, signal.pthread_sigmask, signal.setitimer


def main(text: str) -> int:
    """Run a template with these options (`Options.to_text`); returns the exit status."""
    options = Options.from_text(text)
    die_with_parent(options.supervisor)
    set_title("jobyard: template")
    line, listener = socket(fileno=options.supervisor_line), socket(fileno=options.listener)
    for fd in (options.supervisor_line, options.listener, *options.closed_in_children):
        os.set_inheritable(fd, False)
    ignore_signals()
    template = Template(
        line=line, listener=listener, closed_in_children=options.closed_in_children, folder=options.temporary,
        log_level=options.log_level, world=World(), registry=DEFINED,
    )  # fmt: skip
    WATCH.install()
    use_folders(options.folders, checkout=options.checkout)
    register_builtin(enable_shell=options.enable_shell, http_allow_private=options.http_allow_private)
    try:
        warnings = import_all(
            options.modules, lambda module: _send(line, Importing(module=module)), django_settings=options.django_settings
        )  # fmt: skip
    except NotImported as fault:
        wrong = fault.__cause__ or fault
        _send(line, ImportFailed(error=str(fault), traceback=traceback_of(wrong), files=files_of_the_user()))
        return EXIT_IMPORT_FAILED
    _prepare_to_fork()
    declared = {"schedules": DECLARED, "limits": DECLARED_LIMITS}
    _send(line, Ready(tasks=_task_options(), files=files_of_the_user(), warnings=warnings + _warnings(), **declared))
    return template.run()


def _prepare_to_fork() -> None:
    """After the imports: reset timers and signal handlers, flush open files, and keep memory shared with the forks."""
    if DEFINED.has_coroutines():
        importlib.import_module("jobyard.engine.executor.coroutines")
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        _set_timer(timer, 0)
    ignore_signals()
    flush_open_files()
    gc.freeze()


def ignore_signals() -> None:
    """Replace the handlers that modules have installed, and ignore the signals in `IGNORED`."""
    for number in HANDLERS:
        if callable(_handler_of(number)):
            _set_handler(number, signal.SIG_DFL)
    _set_handler(signal.SIGCHLD, signal.SIG_DFL)
    for number in IGNORED:
        _set_handler(number, signal.SIG_IGN)
    _set_mask(signal.SIG_SETMASK, ())


def _task_options() -> dict[str, dict[str, object]]:
    return {name: asdict(options) for name, options in DEFINED.described().items()}


def _warnings() -> list[str]:
    """Warnings about connections and threads of the modules that executors will not have."""
    warnings = [
        f"a module of TASKS is connected to {peer}: executors cannot share the connection, so each disconnects its copy; "
        "connect in @on_child_start"
        for peer in tcp_peers().values()
    ]
    threads = len(os.listdir("/proc/self/task")) - 1
    if threads:
        warnings.append(f"modules of TASKS started {threads} threads: executors do not have them; start them in @on_child_start")
    return warnings


def _send(line: socket, message: messages.Message) -> None:
    send_packet(line, messages.encode(message))
