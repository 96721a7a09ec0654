"""The extras: what a plain `pip install jobyard`, which is the client and the task side, leaves out, and how to add it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

SERVER, MONGO = "server", "mongo"
MODULES: dict[str, tuple[str, ...]] = {
    SERVER: ("flask", "gunicorn", "psutil", "setproctitle", "prometheus_client"),
    MONGO: ("pymongo",),
}
"""The modules that each extra cannot do without."""


def extra_of(module: str | None) -> str | None:
    """The extra that brings this module, or the package that it is in; None if none does."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if package in modules), None)


def missing_from(extra: str, find: Callable[[str], object] = find_spec) -> list[str]:
    """The modules of the extra that are not installed."""
    return [module for module in MODULES[extra] if find(module) is None]


def how_to_add(extra: str, missing: list[str]) -> str:
    """One line for whoever needs it."""
    return f"this needs {', '.join(missing)}, which the extra {extra!r} brings: pip install 'jobyard[{extra}]'"
