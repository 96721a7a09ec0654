"""Which tags there may be, and how a task's and a job's come together."""

from __future__ import annotations

import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.tags import MAX_TAGS, joined, parse_tags, read_tags


def test_tags_are_sorted_and_each_is_there_once() -> None:
    assert read_tags(["b", "a", "b"]) == ("a", "b")
    assert read_tags([]) == ()


@pytest.mark.parametrize("tag", ["a", "x" * 64, "A-Z_a.z:0/9@=+-"])
def test_a_tag_within_bounds_is_kept_as_it_is(tag: str) -> None:
    assert read_tags([tag]) == (tag,)


@pytest.mark.parametrize("tags", ["a", None, 1, {"a": 1}, [""], ["x" * 65], ["a b"], ["ä"], ["a\n"], [None], [["a"]], ["a"] * 17])
def test_anything_else_is_refused(tags: object) -> None:
    with pytest.raises(ValueError, match="a list of at most 16 tags"):
        read_tags(tags)


def test_a_job_has_its_tasks_tags_too_up_to_the_most() -> None:
    assert joined(("b",), ("c", "a", "b")) == ("a", "b", "c")
    assert len(joined([f"a{n}" for n in range(8)], [f"b{n}" for n in range(8)])) == MAX_TAGS
    with pytest.raises(InvalidRequest, match="not 17") as told:
        joined([f"a{n}" for n in range(9)], [f"b{n}" for n in range(8)])

    assert told.value.field == "tags"


@pytest.mark.parametrize("body", [b'{"tags": ["b", "a"]}', b'["b", "a"]'])
def test_new_tags_stand_in_an_object_or_alone(body: bytes) -> None:
    assert parse_tags(body) == ("a", "b")
