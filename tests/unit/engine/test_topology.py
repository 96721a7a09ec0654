"""Which components there are, and where."""

from __future__ import annotations

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.topology import all_components, describe, one_component, queue_name


def test_the_default_topology_is_the_documented_one() -> None:
    components = all_components(read_settings({}))

    assert {component.name for component in components} == {
        "gateway-8080", "scheduler-8081", "scheduler-8082", "scheduler-8083", "watcher-9001", "watcher-9002", "watcher-9003",
        "queue-6000", "worker-7001", "worker-7002", "worker-7003",
    }  # fmt: skip


def test_the_offset_shifts_every_port() -> None:
    settings = read_settings({"PORT_OFFSET": "100", "SCHEDULERS": "1", "WATCHERS": "1", "WORKERS": "1"})

    assert sorted(component.port for component in all_components(settings)) == [6100, 7101, 8180, 8181, 9101]
    assert one_component("worker", "7002", settings).name == "worker-7102"
    assert queue_name(settings) == "queue-6100"


def test_no_two_components_of_the_largest_topology_share_a_port() -> None:
    ports = [component.port for component in all_components(read_settings({"SCHEDULERS": "32", "WATCHERS": "32", "WORKERS": "64"}))]

    assert len(set(ports)) == len(ports)


def test_a_component_without_a_port_takes_its_roles_first() -> None:
    assert one_component("scheduler", "", read_settings({})).port == 8081


@pytest.mark.parametrize("port", ["0", "65536", "-1", "7001x", "²"])
def test_a_port_that_is_none_is_told(port: str) -> None:
    with pytest.raises(CannotStart, match="^PORT must be a whole number from 1 to 65535, not "):
        one_component("worker", port, read_settings({}))


def test_the_ready_line_names_every_role_with_its_ports() -> None:
    assert describe(all_components(read_settings({"WATCHERS": "1"}))) == (
        "gateway 8080, schedulers 8081-8083, watcher 9001, queue 6000, workers 7001-7003"
    )
