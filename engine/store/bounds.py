"""How much of what is stored is read at once: so much that a message holds it, however it is written there."""

from __future__ import annotations

from collections.abc import Iterable

from engine.job import Execution, Output

EXECUTIONS_BYTES = 4 << 20
"""Six times that at the worst as JSON, which has six characters for some."""
OUTPUTS_BYTES = 1 << 20
ROW_BYTES = 512
UNBOUNDED = 1 << 62
LOOK = 10_000
"""Jobs that a list looks at for one page, where an index alone does not tell which it wants: some tens of milliseconds."""
LOOK_BYTES = 8 << 20
"""And of the texts of payloads and errors that it searches."""
COUNT_LOOK = 100_000
AHEAD_LOOK = 10_000


def latest_within(latest_first: Iterable[Execution], max_bytes: int) -> list[Execution]:
    """From the latest on, no more than the first past `max_bytes`; oldest first."""
    taken: list[Execution] = []
    size = 0
    for execution in latest_first:
        taken.append(execution)
        size += ROW_BYTES + sum(len(text.encode()) for text in (execution.error_message, execution.traceback) if text)
        if size > max_bytes:
            break
    return sorted(taken, key=lambda execution: execution.attempt)


def latest_outputs(latest_first: Iterable[Output], max_bytes: int) -> list[Output]:
    """The same of what attempts printed."""
    taken: list[Output] = []
    size = 0
    for output in latest_first:
        taken.append(output)
        size += len(output.text.encode())
        if size > max_bytes:
            break
    return taken[::-1]
