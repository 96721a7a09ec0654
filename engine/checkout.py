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


def default_data_dir(prefix: str = sys.prefix) -> str:
    """`var` in the checkout for `bin/start-all`, whose environment lies in the checkout; else `var` in the working folder.

    The latter also where a project has installed the checkout with `pip install -e`: its data is its own.
    """
    folder = checkout()
    is_its_own = folder is not None and Path(prefix).resolve().is_relative_to(folder)
    return str((folder if folder is not None and is_its_own else Path.cwd()) / "var")
