"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`; `many` where the plural is more than an s: `counted(n, "job is", "jobs are")`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
