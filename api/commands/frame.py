"""Renders a snapshot for `top` as lines that fit a screen of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from jobyard.api.commands.show import ANSI, clean, coloured, table
from jobyard.api.commands.snapshot import Json, Slot, Snapshot
from jobyard.api.commands.times import span
from jobyard.engine.jobs.job import Status
from jobyard.engine.topology import QUEUE

MIB = 1 << 20
BAR = 20
MIN_ROWS = 4
ACTIVITY = (
    ("concurrency", "{currently_running} of {concurrency} busy"), ("jobs_accepted", "accepted {jobs_accepted}"),
    ("jobs_claimed", "claimed {jobs_claimed}"), ("ready", "{ready} ready, {leased} leased"),
)  # fmt: skip


def frame(snapshot: Snapshot, speeds: Mapping[str, float] | None, *, width: int, height: int | None, title: str) -> list[str]:
    """The lines of the whole screen; without a height, as many as are needed."""
    top = _summary(snapshot, speeds, title)
    processes, slots = _processes(snapshot), _slots(snapshot)
    if height is not None:
        processes, slots = _divide_rows(processes, slots, max(height - len(top) - 2, 2))
    return [cut(line, width) for line in (*top, "", *processes, "", *slots)]


def cut(line: str, width: int) -> str:
    """The line cut to this width; colour codes do not count."""
    room, kept = width, []
    for number, part in enumerate(ANSI.split(line)):
        codes = ANSI.findall(line)
        kept.append(part[: max(room, 0)])
        room -= len(part)
        kept += codes[number : number + 1]
    return "".join(kept)


# ---- the summary


def _summary(snapshot: Snapshot, speeds: Mapping[str, float] | None, title: str) -> list[str]:
    rows, counts = snapshot.stats["processes"], snapshot.stats["jobs"]
    cpu, memory = sum(row["cpu_percent"] for row in rows), sum(row["rss_bytes"] for row in rows)
    up = max((row["uptime_s"] for row in rows), default=0.0)
    busy, slots = len(snapshot.slots()), snapshot.count_slots()
    shown = [status for status in Status if counts.get(status) or status not in (Status.BLOCKED, Status.CLAIMED)]
    return [
        f"{click.style(title, bold=True)}  up {span(up)}, {cpu:.0f} % CPU, {memory // MIB} MiB  {snapshot.at:%H:%M:%S}",
        "Jobs   " + " ".join(f"{coloured(status)} {counts[status]}" for status in shown),
        "Rate   " + (_rates(speeds) if speeds else "…"),
        "Queue  " + _depth(snapshot),
        f"Slots  [{'|' * round(BAR * busy / max(slots, 1)):{BAR}}] {busy} of {slots} busy{_lag(snapshot)}",
    ]


def _rates(speeds: Mapping[str, float]) -> str:
    return "  ".join(f"{word} {speed:.1f}/s" for word, speed in speeds.items())


def _depth(snapshot: Snapshot) -> str:
    queues = snapshot.components(QUEUE).values()
    sizes = f"{sum(queue.get('ready', 0) for queue in queues)} ready, {sum(queue.get('leased', 0) for queue in queues)} leased"
    filled = "  ".join(f"{priority}: {count}" for priority, count in sorted(snapshot.depth.items(), reverse=True) if count)
    return f"{sizes}; by priority {filled}" if filled else sizes


def _lag(snapshot: Snapshot) -> str:
    """How long jobs waited from due to begun, in the latest minute in which any began."""
    if snapshot.lag_ms is None:
        return ""
    shares = (f"{part} {f'{ms:.0f} ms' if ms < 1000 else span(ms / 1000)}" for part, ms in snapshot.lag_ms.items())
    return "; wait " + "  ".join(shares)


# ---- the tables


def _processes(snapshot: Snapshot) -> list[str]:
    rows = [
        (row["name"], row["pid"] or "", coloured(row["status"]), _short_span(row["uptime_s"]), row["restarts"],
         f"{row['rss_bytes'] / MIB:.0f}", f"{row['cpu_percent']:.1f}", _activity(snapshot.stats["components"].get(row["name"], {})))
        for row in snapshot.stats["processes"]
    ]  # fmt: skip
    headers = ("PROCESS", "PID", "STATUS", "UP", "DIED", "MIB", "CPU %", "DOES")
    return table(headers, rows, right=("PID", "DIED", "MIB", "CPU %")).split("\n")


def _short_span(seconds: float) -> str:
    """A duration in its largest unit only, to leave room for the other columns."""
    return " ".join(span(seconds).split()[:2])


def _activity(about: Json) -> str:
    return next((words.format_map(about) for name, words in ACTIVITY if name in about), "")


def _slots(snapshot: Snapshot) -> list[str]:
    rows = [_slot(slot, snapshot.jobs.get(slot.job_id, {})) for slot in snapshot.slots()]
    if not rows:
        return ["no job runs"]
    headers = ("RUNS", "FOR", "PRIO", "TRY", "WORKER", "PID", "TASK")
    return table(headers, rows, right=("PRIO", "TRY", "PID")).split("\n")


def _slot(slot: Slot, job: Json) -> Sequence[object]:
    known = (job.get("priority", ""), job.get("attempt", ""))
    return (slot.job_id, span(slot.running_s), *known, slot.worker, slot.pid, clean(job.get("task", "")))


def _divide_rows(first: list[str], second: list[str], rows: int) -> tuple[list[str], list[str]]:
    """Both parts cut to these rows: each gets half, and what the other does not need."""
    half = max(rows // 2, MIN_ROWS)
    first_rows = max(half, rows - len(second))
    shown = _first(first, min(first_rows, rows))
    return shown, _first(second, rows - len(shown))


def _first(lines: list[str], rows: int) -> list[str]:
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], f"… {len(lines) - rows + 1} more"] if rows > 0 else []
