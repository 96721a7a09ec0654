"""What the author of a task imports, and what a program does that submits jobs. The latter is loaded when it is asked for."""

import importlib
from typing import TYPE_CHECKING

from engine.tasks.context import Retry, Unrecoverable, current_job
from engine.tasks.registry import task

if TYPE_CHECKING:
    from engine.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "Retry", "Unrecoverable", "current_job", "task"]


def __getattr__(name: str) -> object:
    """The clients: no process of Jobyard's own carries them, or the httpx that they need."""
    if name in ("AsyncClient", "Client"):
        return getattr(importlib.import_module("engine.client"), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
