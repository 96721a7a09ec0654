"""Turns the return value or exception of a task into an outcome whose parts are bounded in size and can be stored.

Standard library only, because it runs in the user's interpreter. The worker converts it to a `jobs.job.Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from jobyard.engine.executor.traceback_text import traceback_text
from jobyard.engine.jobs.json_text import NotJson, to_json_text
from jobyard.engine.tasks.context import Interrupted, Retry, Unrecoverable

MAX_RESULT_BYTES = 1 << 20
MAX_ERROR_CHARS = 4_000
"""At most four bytes each, so 16 KiB."""
MAX_RETRY_DELAY_S = 315_360_000
SUCCESS, FAILED = "success", "failed"
"""The values of `jobs.job.ExecutionStatus`."""


class TaskOutcome(NamedTuple):
    """How an execution ended, as reported by its process; has the fields of `jobs.job.Outcome`."""

    status: str
    result: bytes | None = None
    error: str | None = None
    traceback: str | None = None
    retry_delay_s: float | None = None
    unrecoverable: bool = False


def success(value: object) -> TaskOutcome:
    """The task returned this; a failure for good if it cannot be stored, because another attempt would only repeat the work."""
    try:
        result = to_json_text(value, root="result")
    except NotJson as wrong:
        return failure(f"its result is not JSON: {wrong}", unrecoverable=True)
    if len(result) > MAX_RESULT_BYTES:
        words = f"its result is {len(result)} bytes of JSON; at most {MAX_RESULT_BYTES} are stored"
        return failure(words, unrecoverable=True)
    return TaskOutcome(status=SUCCESS, result=result)


def raised(
    wrong: BaseException, *, ours: str | tuple[str, ...], is_final: Callable[[BaseException], bool] = lambda wrong: False
) -> TaskOutcome:  # fmt: skip
    """The task raised this exception; `SystemExit` and `KeyboardInterrupt` are failures too.

    `ours`: path prefixes of the files that called the task. `is_final`: whether the task's options rule out another attempt.
    """
    match wrong:
        case Interrupted():  # the worker requested it and words the error
            return failure(str(wrong), _traceback_of(wrong, ours))
        case Retry(delay_s=delay_s) if not is_final(wrong):
            return _retry_request(delay_s, str(wrong))
        case _:
            message = _named(type(wrong).__name__, _text_or("", lambda: str(wrong)))
            is_over = isinstance(wrong, Unrecoverable) or is_final(wrong)
            return failure(message, _traceback_of(wrong, ours), unrecoverable=is_over)


def failure(error: str, traceback_text: str | None = None, *, unrecoverable: bool = False) -> TaskOutcome:
    """The task failed with this error message."""
    return TaskOutcome(
        status=FAILED, error=_bounded(error), traceback=traceback_text, unrecoverable=unrecoverable
    )  # fmt: skip


def _retry_request(delay_s: float | None, message: str) -> TaskOutcome:
    if delay_s is not None:
        is_number = isinstance(delay_s, int | float) and not isinstance(delay_s, bool)
        if not (is_number and 0 <= delay_s <= MAX_RETRY_DELAY_S):
            given = _text_or("", lambda: repr(delay_s))
            return failure(f"Retry(delay_s=…) takes a number from 0 to {MAX_RETRY_DELAY_S}, not {given}")
    return TaskOutcome(status=FAILED, error=_bounded(_named("Retry", message)), retry_delay_s=delay_s)


def _named(kind: str, words: str) -> str:
    """`ValueError: no`, or `ValueError` where it says nothing."""
    return f"{kind}: {words}" if words else kind


def _traceback_of(wrong: BaseException, calling_code: str | tuple[str, ...]) -> str | None:
    """The traceback from the task's first frame on, of a bounded length."""

    def first_task_frame(trace: TracebackType | None) -> TracebackType | None:
        while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(calling_code):
            trace = trace.tb_next
        return trace

    return _bounded(_text_or("", lambda: traceback_text(wrong, first_task_frame(wrong.__traceback__), max_chars=MAX_ERROR_CHARS)))


def _text_or(default: str, build: Callable[[], str]) -> str:
    """The text, or the default if building it raises: `__str__` and `__repr__` may be the task's own code."""
    try:
        return build()
    except BaseException:
        return default


def _bounded(text: str) -> str:
    """At most `MAX_ERROR_CHARS`, with characters that cannot be stored replaced."""
    text = text[: MAX_ERROR_CHARS + 1].encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")
    return text if len(text) <= MAX_ERROR_CHARS else text[: MAX_ERROR_CHARS - 1] + "…"
