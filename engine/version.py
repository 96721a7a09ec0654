"""The version of Jobyard. `setup.cfg` states it: read there in a checkout, from the package's metadata where it is installed."""

from __future__ import annotations

import configparser
import functools
from importlib import metadata

from jobyard.engine.checkout import checkout

UNKNOWN = "unknown"


@functools.cache
def version() -> str:
    """Such as `0.2.0`."""
    folder = checkout()
    if folder is not None:
        setup = configparser.RawConfigParser()
        setup.read(folder / "setup.cfg", "utf-8")
        return setup.get("metadata", "version", fallback=UNKNOWN)
    try:
        return metadata.version("jobyard")
    except metadata.PackageNotFoundError:
        return UNKNOWN
