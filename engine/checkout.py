"""Finds out whether Jobyard runs from a checkout, whose data folder is its own `var`, or from an installed package."""

from __future__ import annotations

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


def default_data_dir() -> str:
    """`var` in the checkout; for an installed Jobyard `var` in the working folder, never beside the package."""
    return str((checkout() or Path.cwd()) / "var")
