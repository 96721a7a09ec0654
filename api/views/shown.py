"""Values of control's snapshots as `/stats` shows them; stale values have `stale_since` and `age_s`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobyard.engine.control.snapshot import Component, Snapshot, stats_of
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.world import World


def shown_stats(component: Component, world: World) -> dict[str, Any]:
    """The counters of a component, with their age if they are stale."""
    return stats_of(component.counters, world.monotonic()) | shown_age(component.stale_since, world)


def shown_processes(snapshot: Snapshot, world: World) -> list[dict[str, object]]:
    """The processes, without memory and processor time."""
    now = world.monotonic()
    return [
        {
            "name": row.name, "role": row.role, "pid": row.pid, "status": row.state, "restarts": row.restarts,
            "uptime_s": row.uptime_s(now),
        }
        for row in snapshot.rows
    ]  # fmt: skip


def shown_age(stale_since: float | None, world: World) -> dict[str, object]:
    """No fields if it is not stale."""
    if stale_since is None:
        return {}
    age_s = max(0.0, world.monotonic() - stale_since)
    return {"stale_since": rfc3339(world.now() - timedelta(seconds=age_s)), "age_s": round(age_s, 3)}
