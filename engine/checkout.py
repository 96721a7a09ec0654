"""Finds out whether Jobyard runs from a checkout, whose data folder is its own `var`, or from an installed package."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The checkout's folder; None when Jobyard is installed as a package."""
    return _ROOT if (_ROOT / "src" / "jobyard").is_dir() and (_ROOT / "setup.cfg").is_file() else None


def default_data_dir() -> str:
    """`var` in the checkout; for an installed Jobyard `var` in the working folder, never beside the package."""
    return str((checkout() or Path.cwd()) / "var")
