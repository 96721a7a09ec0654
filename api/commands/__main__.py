"""`python -m api.commands`, which is what `bin/jobyard` runs: the one place of the commands that sees the environment."""

from __future__ import annotations

import os

from api.commands.connection import Surroundings
from api.commands.root import NAME, main

if __name__ == "__main__":
    main(prog_name=NAME, obj=Surroundings(environment=os.environ))
