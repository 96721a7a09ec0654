"""What `top` shows of a look: lines that fit a screen of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from jobyard.api.commands.look import Json, Look, Slot
from jobyard.api.commands.moments import span
from jobyard.api.commands.show import ANSI, clean, coloured, table
from jobyard.engine.jobs.job import Status
from jobyard.engine.topology import QUEUE

MIB = 1 << 20
BAR = 20
LEAST_ROWS = 4
DOES = (
    ("concurrency", "{currently_running} of {concurrency} busy"), ("jobs_accepted", "accepted {jobs_accepted}"),
    ("jobs_claimed", "claimed {jobs_claimed}"), ("ready", "{ready} ready, {leased} leased"),
)  # fmt: skip


def frame(look: Look, speeds: Mapping[str, float] | None, *, width: int, height: int | None, title: str) -> list[str]:
    """The whole screen; without a height as long as it must be."""
    top = _summary(look, speeds, title)
    processes, slots = _processes(look), _slots(look)
    if height is not None:
        processes, slots = _share(processes, slots, max(height - len(top) - 2, 2))
    return [cut(line, width) for line in (*top, "", *processes, "", *slots)]


def cut(line: str, width: int) -> str:
    """No wider than that; colours take no room."""
    room, kept = width, []
    for number, part in enumerate(ANSI.split(line)):
        codes = ANSI.findall(line)
        kept.append(part[: max(room, 0)])
        room -= len(part)
        kept += codes[number : number + 1]
    return "".join(kept)


# ---- the summary


def _summary(look: Look, speeds: Mapping[str, float] | None, title: str) -> list[str]:
    rows, counts = look.stats["processes"], look.stats["jobs"]
    cpu, memory = sum(row["cpu_percent"] for row in rows), sum(row["rss_bytes"] for row in rows)
    up = max((row["uptime_s"] for row in rows), default=0.0)
    busy, slots = len(look.slots()), look.count_slots()
    shown = [status for status in Status if counts[status] or status is not Status.CLAIMED]
    return [
        f"{click.style(title, bold=True)}  up {span(up)}, {cpu:.0f} % CPU, {memory // MIB} MiB  {look.at:%H:%M:%S}",
        "Jobs   " + " ".join(f"{coloured(status)} {counts[status]}" for status in shown),
        "Rate   " + (_rates(speeds) if speeds else "…"),
        "Queue  " + _depth(look),
        f"Slots  [{'|' * round(BAR * busy / max(slots, 1)):{BAR}}] {busy} of {slots} busy",
    ]


def _rates(speeds: Mapping[str, float]) -> str:
    return "  ".join(f"{word} {speed:.1f}/s" for word, speed in speeds.items())


def _depth(look: Look) -> str:
    queues = look.components(QUEUE).values()
    sizes = f"{sum(queue.get('ready', 0) for queue in queues)} ready, {sum(queue.get('leased', 0) for queue in queues)} leased"
    filled = "  ".join(f"{priority}: {count}" for priority, count in sorted(look.depth.items(), reverse=True) if count)
    return f"{sizes}; by priority {filled}" if filled else sizes


# ---- the tables


def _processes(look: Look) -> list[str]:
    rows = [
        (row["name"], row["pid"] or "", coloured(row["status"]), _about(row["uptime_s"]), row["restarts"],
         f"{row['rss_bytes'] / MIB:.0f}", f"{row['cpu_percent']:.1f}", _does(look.stats["components"].get(row["name"], {})))
        for row in look.stats["processes"]
    ]  # fmt: skip
    heads = ("PROCESS", "PID", "STATUS", "UP", "DIED", "MIB", "CPU %", "DOES")
    return table(heads, rows, right=("PID", "DIED", "MIB", "CPU %")).split("\n")


def _about(seconds: float) -> str:
    """Its largest unit only: there are columns of more use."""
    return " ".join(span(seconds).split()[:2])


def _does(about: Json) -> str:
    return next((words.format_map(about) for name, words in DOES if name in about), "")


def _slots(look: Look) -> list[str]:
    rows = [_slot(slot, look.jobs.get(slot.job_id, {})) for slot in look.slots()]
    if not rows:
        return ["no job runs"]
    heads = ("RUNS", "FOR", "PRIO", "TRY", "WORKER", "PID", "TASK")
    return table(heads, rows, right=("PRIO", "TRY", "PID")).split("\n")


def _slot(slot: Slot, job: Json) -> Sequence[object]:
    known = (job.get("priority", ""), job.get("attempt", ""))
    return (slot.job_id, span(slot.running_s), *known, slot.worker, slot.pid, clean(job.get("task", "")))


def _share(first: list[str], second: list[str], rows: int) -> tuple[list[str], list[str]]:
    """Each gets half, and what the other does not need."""
    half = max(rows // 2, LEAST_ROWS)
    first_rows = max(half, rows - len(second))
    shown = _first(first, min(first_rows, rows))
    return shown, _first(second, rows - len(shown))


def _first(lines: list[str], rows: int) -> list[str]:
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], f"… {len(lines) - rows + 1} more"] if rows > 0 else []
