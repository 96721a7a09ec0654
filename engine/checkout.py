"""Finds out whether Jobyard runs from a checkout, and where its data folder is by default."""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve()


def checkout(here: Path = _HERE) -> Path | None:
    """The checkout's folder; None when Jobyard is installed as a package.

    `engine` lies at its top, or below `src/jobyard` where its links have become folders, as in an unpacked sdist.
    """
    for folder in (here.parents[1], *here.parents[3:4]):
        if (folder / "src" / "jobyard").is_dir() and (folder / "setup.cfg").is_file():
            return folder
    return None


def own_checkout(prefix: str = sys.prefix) -> Path | None:
    """The checkout where its own environment runs, which lies in it, as for `bin/start-all`.

    None also where a project has installed a checkout with `pip install -e`: that is a package like any other.
    """
    folder = checkout()
    if folder is None or not any(path.is_relative_to(folder) for path in (Path(prefix), Path(prefix).resolve())):
        return None
    return folder


def default_data_dir(prefix: str = sys.prefix) -> str:
    """`var` in the checkout for its own environment; else `var` in the working folder, never beside the package."""
    return str((own_checkout(prefix) or Path.cwd()) / "var")


def program(name: str, prefix: str = sys.prefix) -> str:
    """What to type here: `bin/start-all` and `bin/jobyard` in a checkout, else `jobyard start-all` and `jobyard`."""
    if own_checkout(prefix) is not None:
        return f"bin/{name}"
    return name if name == "jobyard" else f"jobyard {name}"
