"""What kind of MongoDB deployment answers, and what to be careful about with it. See docs/mongodb.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_LEASE_S = 15.0
"""An election takes up to about 12 s with MongoDB's default settings; an outage of 0.75 LEASE_S ends nothing."""


def kind_of(hello: Mapping[str, Any]) -> str:
    """In words, from the server's answer to `hello`."""
    if hello.get("msg") == "isdbgrid":
        return "a mongos"
    name = hello.get("setName")
    return f"replica set {name}" if name else "not a replica set: losing the server loses its data"


def cautions(hello: Mapping[str, Any], *, lease_s: float) -> list[str]:
    """What a person should know before relying on it."""
    told = []
    if hello.get("msg") == "isdbgrid":
        told.append("MONGO_URI leads to a mongos: do not shard Jobyard's collections, and keep them together on one shard")
    data = len(hello.get("hosts", ())) + len(hello.get("passives", ()))
    arbiters = len(hello.get("arbiters", ()))
    if arbiters and (data + arbiters) // 2 + 1 > data - 1:
        told.append(
            f"the replica set has {_number(data, 'server')} with data and {_number(arbiters, 'arbiter')}: when one server with data"
            " is lost, no majority can confirm a write, and nothing is accepted until it is back; use a server with data instead"
        )
    if lease_s < LEAST_LEASE_S and (data + arbiters > 1 or hello.get("msg") == "isdbgrid"):
        told.append(f"LEASE_S is {lease_s:g}: the election of a new primary can take longer and ends running jobs; use 15 or more")
    return told


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
