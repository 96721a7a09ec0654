"""What the author of a task imports."""

from engine.tasks.context import Retry, Unrecoverable, current_job
from engine.tasks.registry import task

__all__ = ["Retry", "Unrecoverable", "current_job", "task"]
