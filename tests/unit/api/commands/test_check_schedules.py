"""`doctor` names the schedules that no living host declares any more, and no others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobyard.api.commands.check_schedules import declared_by, look_at_schedules
from jobyard.api.commands.findings import State
from jobyard.engine.config import read_settings
from jobyard.engine.store.port import HostHeartbeat
from jobyard.engine.tasks.schedule_catalog import ScheduleCatalog, forget_schedules, write_schedules
from jobyard.engine.wire.run_dir import RunDir
from tests.support.world import START


class Service:
    """Answers with these schedules."""

    def __init__(self, *schedules: tuple[str, str]) -> None:
        self._schedules = [{"name": name, "origin": origin, "paused": None} for name, origin in schedules]

    def ask(self, method: str, path: str) -> Any:
        return self._schedules


def a_host(boot: str, *schedules: str, ago_s: float = 0, **fields: object) -> HostHeartbeat:
    seen_at = START - timedelta(seconds=ago_s)
    return HostHeartbeat(boot=boot, host=boot, renewal=1, seen_at=seen_at, **({"schedules": schedules} | fields))  # type: ignore[arg-type]


def test_what_code_has_stored_and_no_module_declares_is_named(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.make()
    write_schedules(run_dir, {"kept": {}})
    service = Service(("kept", "code"), ("gone", "code"), ("mine", "api"))

    stale, fine = look_at_schedules(service, read_settings({"DATA_DIR": str(tmp_path)}))  # type: ignore[arg-type]

    assert stale.state is State.WARNING and stale.message.startswith("gone: ") and fine.message == "3, of which 0 are paused"


def test_before_the_modules_are_imported_nothing_is_said_of_it(tmp_path: Path) -> None:
    service = Service(("gone", "code"))

    [fine] = look_at_schedules(service, read_settings({"DATA_DIR": str(tmp_path)}))  # type: ignore[arg-type]

    assert fine.state is State.FINE


@pytest.mark.parametrize(
    ("hosts", "declared"),
    [
        ([], None), ([a_host("one", "a"), a_host("two", "b")], {"a", "b"}),
        ([a_host("one", "a"), a_host("old", schedules=None)], None),
        ([a_host("one", "a"), a_host("dead", "b", ago_s=91)], {"a"}), ([a_host("dead", "b", ago_s=91)], None),
        ([a_host("one"), a_host("two")], set()),
    ],
)  # fmt: skip
def test_on_a_shared_database_every_living_host_counts(hosts: list[HostHeartbeat], declared: set[str] | None) -> None:
    assert declared_by(hosts, START) == declared


def test_a_host_tells_the_names_that_it_declares(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.make()
    catalog = ScheduleCatalog(run_dir)
    assert catalog.names() is None

    write_schedules(run_dir, {"b": {}, "a": {}})
    assert catalog.names() == catalog.names() == ("a", "b")
    write_schedules(run_dir, {str(number): {} for number in range(1_001)})
    assert catalog.names() is None
    write_schedules(run_dir, {})
    assert catalog.names() == ()
    forget_schedules(run_dir)
    assert catalog.names() is None
