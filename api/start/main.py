"""`jobyard start-all | start ROLE | stop-all`: the composition root, and the only place that reads the environment."""

from __future__ import annotations

import signal
from collections.abc import Mapping, MutableMapping, Sequence

from jobyard.api.start.command_line import START_ALL, STOP_ALL, Command, help_text, read_command_line
from jobyard.api.start.launch import Plan
from jobyard.api.start.roles import print_fault
from jobyard.api.start.start import start
from jobyard.api.start.stop import stop_all
from jobyard.engine.checkout import default_data_dir
from jobyard.engine.config import Settings, read_settings
from jobyard.engine.databases.open import load_adapter
from jobyard.engine.errors import CannotStart
from jobyard.engine.service_address import variables_for_tasks
from jobyard.engine.stop_requests import Stopped, StopRequests
from jobyard.engine.supervisor.readiness import take_notify_socket
from jobyard.engine.supervisor.role_loop import EXIT_OK, EXIT_STOPPED_AT_ONCE
from jobyard.engine.topology import all_components, one_component
from jobyard.engine.world import World


def main(words: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Run a command of `bin/`; returns the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it were inherited as ignored, ended children could not be reaped
    notify_socket = take_notify_socket(environment)
    stop_requests = StopRequests().install()
    try:
        command = read_command_line(words)
        if command.wants_help:
            print(help_text(command.name))
            return EXIT_OK
        settings = read_settings({"DATA_DIR": default_data_dir()} | _given(environment), command.flags)
        if command.name == STOP_ALL:
            return stop_all(settings, World(), stop_requests=stop_requests)
        load_adapter(settings)
        environment.update(variables_for_tasks(settings, environment))
        return start(
            _plan(command, environment, settings), settings, World(), environment=environment, notify_socket=notify_socket,
            stop_requests=stop_requests, watches_files=command.wants_reload,
        )  # fmt: skip
    except CannotStart as fault:
        return print_fault(fault.message)
    except OSError as fault:
        return print_fault(f"{fault.strerror or fault}" + (f" ({fault.filename})" if fault.filename else ""))
    except Stopped:
        return EXIT_STOPPED_AT_ONCE if words[:1] == [STOP_ALL] else EXIT_OK


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value}


def _plan(command: Command, environment: Mapping[str, str], settings: Settings) -> Plan:
    if command.name == START_ALL:
        return Plan(who=START_ALL, components=all_components(settings), alone=True)
    port = command.flags.get("PORT") or environment.get("PORT", "")
    component = one_component(command.role, port, settings)
    return Plan(who=component.name, components=[component], alone=False)

