"""Imports the client on first use. It needs packages that the interpreter of a project's tasks may lack; then it says so."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

PACKAGES = ("httpx", "anyio", "msgspec")
"""What the client imports besides the standard library."""


def import_client(module: str) -> ModuleType:
    """`engine.client.<module>`; raises `ImportError` with the command that installs what is missing."""
    try:
        return importlib.import_module(f"jobyard.engine.client.{module}")
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        remedy = f"{sys.executable} -m pip install {' '.join(PACKAGES)}"
        raise ImportError(f"the client needs {package}, which is not installed here: {remedy}") from missing
