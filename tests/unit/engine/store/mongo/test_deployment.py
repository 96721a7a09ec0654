"""Which deployments are described with a caution."""

from __future__ import annotations

from typing import Any

import pytest

from jobyard.engine.store.mongo.deployment import cautions, kind_of

STANDALONE: dict[str, Any] = {}
ONE = {"setName": "rs0", "hosts": ["a:1"]}
THREE = {"setName": "rs0", "hosts": ["a:1", "b:1", "c:1"]}
PRIORITY_0 = {"setName": "rs0", "hosts": ["a:1", "b:1"], "passives": ["c:1"]}
PSA = {"setName": "rs0", "hosts": ["a:1", "b:1"], "arbiters": ["c:1"]}
PSSSA = {"setName": "rs0", "hosts": ["a:1", "b:1", "c:1", "d:1"], "arbiters": ["e:1"]}
PSSAA = {"setName": "rs0", "hosts": ["a:1", "b:1", "c:1"], "arbiters": ["d:1", "e:1"]}
MONGOS = {"msg": "isdbgrid"}


@pytest.mark.parametrize(
    ("hello", "kind"),
    [(STANDALONE, "not a replica set: losing the server loses its data"), (THREE, "replica set rs0"), (MONGOS, "a mongos")],
)
def test_a_deployment_has_a_name(hello: dict[str, Any], kind: str) -> None:
    assert kind_of(hello) == kind


@pytest.mark.parametrize("hello", [STANDALONE, ONE, THREE, PRIORITY_0, PSSSA])
def test_an_ordinary_deployment_needs_no_caution(hello: dict[str, Any]) -> None:
    assert cautions(hello, lease_s=30) == []


@pytest.mark.parametrize("hello", [PSA, PSSAA])
def test_arbiters_without_which_there_is_no_majority_are_told(hello: dict[str, Any]) -> None:
    (told,) = cautions(hello, lease_s=30)

    assert "arbiter" in told and "no majority" in told


def test_a_mongos_is_told() -> None:
    (told,) = cautions(MONGOS, lease_s=30)

    assert "mongos" in told


@pytest.mark.parametrize(
    ("hello", "lease_s", "count"), [(THREE, 14, 1), (THREE, 15, 0), (ONE, 5, 0), (STANDALONE, 5, 0), (PSA, 14, 2)]
)
def test_a_lease_that_is_shorter_than_an_election_is_told_where_there_can_be_one(
    hello: dict[str, Any], lease_s: float, count: int
) -> None:
    assert len(cautions(hello, lease_s=lease_s)) == count
