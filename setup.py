"""Everything is declared in setup.cfg; this only refuses a tree that has lost its links, such as a zip unpacked without them.

What a build writes goes into `build`. In `src`, which is on the path of a checkout's environment, the metadata of a build would
declare the package a second time.
"""

import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
for name in ("engine", "api"):
    if not (HERE / "src" / "jobyard" / name / "__init__.py").is_file():
        raise SystemExit(f"src/jobyard/{name} must be a link to ../../{name}: use a clone or a tar archive, not a zip")
shutil.rmtree(HERE / "build" / "lib", ignore_errors=True)  # modules that have moved since would still be shipped
shutil.rmtree(HERE / "src" / "jobyard.egg-info", ignore_errors=True)
(HERE / "build").mkdir(exist_ok=True)
setup(options={"egg_info": {"egg_base": "build"}})
