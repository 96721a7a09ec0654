"""Puts the folders of the user's modules on `sys.path`: `PYTHONPATH` and the working folder, after the entry that holds `jobyard`
and before all others. If such a folder is Jobyard's own checkout, its `engine`, `api`, `tests` etc. cannot be imported from it.
"""

from __future__ import annotations

import importlib.machinery as machinery
import os
import sys
from collections.abc import Iterable

HIDDEN = frozenset({"api", "bin", "docs", "engine", "jobyard", "setup", "src", "tests"})
_LOADERS = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


class CheckoutFinder(machinery.FileFinder):
    """Finds the user's modules in a checkout of Jobyard, but none of Jobyard's own."""

    def find_spec(self, fullname: str, target: object = None) -> machinery.ModuleSpec | None:
        """None makes the import system continue with the next entry of `sys.path`."""
        return None if fullname in HIDDEN else super().find_spec(fullname)


def use_folders(folders: Iterable[str], *, checkout: str | None) -> None:
    """Insert the folders in this order after the entry that holds `jobyard`. `checkout`: Jobyard's own, None if it is installed."""
    place = 1
    for folder in dict.fromkeys(map(os.path.abspath, folders)):
        if checkout is not None and os.path.isdir(folder) and os.path.samefile(folder, checkout):
            sys.path_importer_cache[folder] = CheckoutFinder(folder, *_LOADERS)
        if folder in sys.path[1:]:
            sys.path.remove(folder)
        sys.path.insert(place, folder)
        place += 1
