"""Turns what a task returns or raises into an outcome, all of whose parts are bounded and can be stored.

Standard library only, because this runs in the users' interpreter. The worker converts it to a `jobs.job.Outcome`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from jobyard.engine.jobs.json_text import NotJson, to_json_text
from jobyard.engine.tasks.context import Interrupted, Retry, Unrecoverable

MAX_RESULT_BYTES = 1 << 20
MAX_ERROR_CHARS = 4_000
"""Up to four bytes each: 16 KiB."""
MAX_RETRY_DELAY_S = 315_360_000
SUCCESS, FAILED = "success", "failed"
"""The values of `jobs.job.ExecutionStatus`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """How an execution ended; the fields of `jobs.job.Outcome`."""

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
    """The task raised this; `SystemExit` and `KeyboardInterrupt` are failures. `ours`: the folders of the files that called it.

    `is_final`: whether the task's options rule out another attempt.
    """
    match wrong:
        case Interrupted():  # the worker knows the reason and adds it
            return failure(str(wrong), _traceback_of(wrong, ours))
        case Retry(delay_s=delay_s) if not is_final(wrong):
            return _wish(delay_s, str(wrong))
        case _:
            words = _shown(lambda: f"{type(wrong).__name__}: {wrong}", otherwise=type(wrong).__name__)
            is_over = isinstance(wrong, Unrecoverable) or is_final(wrong)
            return failure(words, _traceback_of(wrong, ours), unrecoverable=is_over)


def failure(words: str, traceback_words: str | None = None, *, unrecoverable: bool = False) -> TaskOutcome:
    """A failure with this message."""
    return TaskOutcome(
        status=FAILED, error=_bounded(words), traceback=traceback_words, unrecoverable=unrecoverable
    )  # fmt: skip


def _wish(delay_s: float | None, words: str) -> TaskOutcome:
    if delay_s is not None:
        is_number = isinstance(delay_s, int | float) and not isinstance(delay_s, bool)
        if not (is_number and 0 <= delay_s <= MAX_RETRY_DELAY_S):
            given = _shown(lambda: repr(delay_s))
            return failure(f"Retry(delay_s=…) takes a number from 0 to {MAX_RETRY_DELAY_S}, not {given}")
    return TaskOutcome(status=FAILED, error=_bounded(f"Retry: {words}"), retry_delay_s=delay_s)


def _traceback_of(wrong: BaseException, ours: str | tuple[str, ...]) -> str | None:
    """The traceback from the task's first line on, since its callers do not help the task's author; the last part of a long one."""

    def first_of_the_task(trace: TracebackType | None) -> TracebackType | None:
        while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
            trace = trace.tb_next
        return trace

    words = _shown(lambda: "".join(traceback.format_exception(type(wrong), wrong, first_of_the_task(wrong.__traceback__))))
    return _bounded(words) if len(words) <= MAX_ERROR_CHARS else "…" + _bounded(words[-MAX_ERROR_CHARS:])


def _shown(show: Callable[[], str], *, otherwise: str = "") -> str:
    """The object as text, unless converting it raises."""
    try:
        return show()
    except BaseException:  # this runs the task's own code
        return otherwise


def _bounded(text: str) -> str:
    """Truncated, and without characters that cannot be stored."""
    text = text[: MAX_ERROR_CHARS + 1].encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")
    return text if len(text) <= MAX_ERROR_CHARS else text[:MAX_ERROR_CHARS] + "…"
