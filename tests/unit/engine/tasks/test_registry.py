"""Registering tasks, and the catalog by which schedulers know them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobyard import task
from jobyard.engine.tasks.builtin import echo
from jobyard.engine.tasks.catalog import Catalog, write_catalog
from jobyard.engine.tasks.registry import DEFINED, Registry, Task, TaskOptions
from jobyard.engine.wire.run_dir import RunDir


def a_task(name: str, function: object) -> Task:
    return Task(name=name, function=function, options=TaskOptions())  # type: ignore[arg-type]


@pytest.mark.parametrize("tags", ["a", ["a b"], [1], [f"t{n}" for n in range(17)]])
def test_wrong_tags_are_refused_where_they_are_declared(tags: object) -> None:
    with pytest.raises(ValueError, match="tags of task 'one' must be a list of at most 16"):
        task("one", tags=tags)  # type: ignore[arg-type]


@pytest.mark.parametrize("unique", [7, "", {"keys": "a"}, "{a", {"key": "a}"}, {"on_conflict": "replace"}])
def test_what_cannot_be_unique_is_refused_where_it_is_declared(unique: object) -> None:
    with pytest.raises(ValueError, match="unique of task 'one'"):
        task("one", unique=unique)  # type: ignore[arg-type]


def test_a_registered_function_stays_callable() -> None:
    @task("unit.double", max_retries=0, timeout_s=0.5)
    def double(payload: int) -> int:
        return 2 * payload

    noted = DEFINED.get("unit.double")

    assert double(4) == 8
    assert noted is not None and noted.options == TaskOptions(max_retries=0, timeout_s=0.5)


@pytest.mark.parametrize("name", ["", "x" * 256, "line\nbreak", 7, None])
def test_a_task_name_is_a_short_printable_string(name: object) -> None:
    with pytest.raises(ValueError, match="a task's name must be"):
        task(name)  # type: ignore[arg-type]


NUMBERS = ("max_retries", "timeout_s", "retry_base_s", "retry_max_s", "expires_s", "priority")


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option in NUMBERS for value in (-1, "5", True, float("nan"), 10**9)]
    + [("max_retries", 1.0), ("timeout_s", 0), ("expires_s", 0), ("priority", "urgent")]
    + [("queue", value) for value in ("", "a b", 5, "x" * 65)],
)
def test_options_out_of_bounds_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option} of task 'unit.bounds' must be"):
        task("unit.bounds", **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["retry_on", "discard_on"])
@pytest.mark.parametrize("value", ["ValueError", int, (ValueError, "x"), ValueError("an instance")])
def test_only_exception_types_choose_retries(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{option} of task 'unit.kinds' must be an exception type"):
        task("unit.kinds", **{option: value})  # type: ignore[arg-type]


def test_the_options_are_what_schedulers_and_workers_know() -> None:
    @task("unit.all", queue="mail", priority="high", retry_base_s=1, retry_max_s=60, expires_s=5, retry_on=OSError)
    def everything(*, path: str) -> None: ...

    noted = DEFINED.described()["unit.all"]

    assert noted == TaskOptions(
        queue="mail", priority=9, retry_base_s=1, retry_max_s=60, expires_s=5, retries_timeouts=False, parameters=noted.parameters
    )
    assert noted.parameters is not None and noted.parameters["required"] == ["path"]


def test_a_duplicate_name_is_refused_with_both_locations() -> None:
    registry = Registry()
    registry.add(a_task("one", test_a_registered_function_stays_callable))

    with pytest.raises(ValueError, match=r"'one' is defined twice: in .*stays_callable \(.*py:\d+\) and in .*echo"):
        registry.add(a_task("one", echo))


def test_the_same_function_may_be_registered_again() -> None:
    registry = Registry()
    registry.add(a_task("one", echo))
    registry.add(a_task("one", echo))

    assert list(registry.options()) == ["one"]


def test_the_catalog_is_read_again_after_it_was_replaced(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.make()
    catalog = Catalog(run_dir)
    before = catalog.options()

    write_catalog(run_dir, {"one": TaskOptions()})
    first = catalog.options()
    write_catalog(run_dir, {"one": TaskOptions(), "two": TaskOptions(max_retries=3, timeout_s=1.5)})

    assert (before, first) == ({}, {"one": TaskOptions()})
    assert catalog.options()["two"] == TaskOptions(max_retries=3, timeout_s=1.5)
    assert [path.name for path in run_dir.path.iterdir()] == ["tasks.json"]
