"""The file that `TASK_PYTHON -P` executes: first on the path stands the folder that holds only `jobyard`, whatever else is there.

The user's `PYTHONPATH` comes back once all of ours is imported, so that no `json.py` of theirs is taken for the standard library's.
"""

import os
import sys

if __name__ == "__main__":
    entry, options = sys.argv[1:3]
    theirs = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    sys.path[:] = [entry, *(folder for folder in sys.path if os.path.abspath(folder) not in theirs)]
    from jobyard.engine.template.main import main

    os._exit(main(options))  # what modules have registered to run at exit runs in executors
