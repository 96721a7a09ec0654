"""Values of control's snapshots as `/stats` shows them; what nobody keeps up says since when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobyard.engine.control.snapshot import Component, Snapshot, stats_of
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.world import World


def shown_stats(component: Component, world: World) -> dict[str, Any]:
    """What a component counts, and its age when the component, or control, does not keep it up."""
    return stats_of(component.counters, world.monotonic()) | shown_age(component.stale_since, world)


def shown_processes(snapshot: Snapshot, world: World) -> list[dict[str, object]]:
    """The processes, without what only the kernel knows of them."""
    now = world.monotonic()
    return [
        {
            "name": row.name, "role": row.role, "pid": row.pid, "status": row.state, "restarts": row.restarts,
            "uptime_s": row.uptime_s(now),
        }
        for row in snapshot.rows
    ]  # fmt: skip


def shown_age(stale_since: float | None, world: World) -> dict[str, object]:
    """Nothing for what is kept up."""
    if stale_since is None:
        return {}
    age_s = max(0.0, world.monotonic() - stale_since)
    return {"stale_since": rfc3339(world.now() - timedelta(seconds=age_s)), "age_s": round(age_s, 3)}
