"""Everything is declared in setup.cfg; this only refuses a tree that has lost its links, such as a zip unpacked without them."""

import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
for name in ("engine", "api"):
    if not (HERE / "src" / "jobyard" / name / "__init__.py").is_file():
        raise SystemExit(f"src/jobyard/{name} must be a link to ../../{name}: use a clone or a tar archive, not a zip")
shutil.rmtree(HERE / "build" / "lib", ignore_errors=True)  # modules that have moved since would still be shipped
setup()
