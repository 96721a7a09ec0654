"""The extras: what a plain `pip install jobyard`, which is the client and the task side, leaves out, and how to add it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

SERVER, MONGO = "server", "mongo"
Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Needed:
    """A module of an extra, and from which version on, up to which other (excluded), it fits; as in `setup.cfg`."""

    module: str
    at_least: Version
    below: Version | None = None

    def fits(self, found: Version) -> bool:
        """Whether this version will do."""
        return self.at_least <= found and (self.below is None or found < self.below)


NEEDED: dict[str, tuple[Needed, ...]] = {
    SERVER: (
        Needed("flask", (3, 1), (4, 0)), Needed("gunicorn", (27, 0), (28, 0)), Needed("psutil", (6, 0)),
        Needed("setproctitle", (1, 3)), Needed("prometheus_client", (0, 20), (1, 0)),
    ),
    MONGO: (Needed("pymongo", (4, 10), (5, 0)),),
}  # fmt: skip
"""What each extra cannot do without."""


def extra_of(module: str | None) -> str | None:
    """The extra that brings this module, or the package that it is in; None if none does."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, needed in NEEDED.items() if package in [one.module for one in needed]), None)


def installed_version(module: str) -> str | None:
    """The version of the distribution of that name; None when it cannot be told."""
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return None


def missing_from(
    extra: str, find: Callable[[str], object] = find_spec, installed: Callable[[str], str | None] = installed_version
) -> list[str]:  # fmt: skip
    """The modules of the extra that are not installed, or in a version that does not fit, which is named."""
    missing = []
    for needed in NEEDED[extra]:
        if find(needed.module) is None:
            missing.append(needed.module)
        elif (text := installed(needed.module)) and (version := _parsed(text)) and not needed.fits(version):
            missing.append(f"{needed.module} {_bounds(needed)} ({text} is installed)")
    return missing


def how_to_add(extra: str, missing: list[str]) -> str:
    """One line for whoever needs it."""
    line = f"this needs {', '.join(missing)}, which the extra {extra!r} brings: pip install 'jobyard[{extra}]'"
    if any("is installed" in one for one in missing):
        return f"{line}; if your project needs its versions, install jobyard in an environment of its own and set TASK_PYTHON"
    return line


def _bounds(needed: Needed) -> str:
    at_least, below = (".".join(map(str, bound)).removesuffix(".0") for bound in (needed.at_least, needed.below or ()))
    return f"{at_least} or later" + (f" but below {below}" if below else "")


def _parsed(text: str) -> Version | None:
    found = re.match(r"(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2] or 0)) if found else None
