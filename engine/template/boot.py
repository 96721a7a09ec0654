"""The file that `TASK_PYTHON -P` executes. It puts the folder that contains only `jobyard` first on the path.

The user's `PYTHONPATH` is restored after Jobyard's modules are imported, so that no `json.py` of theirs is imported instead of the
standard library's.
"""

import os
import sys

if __name__ == "__main__":
    entry, options = sys.argv[1:3]
    theirs = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    sys.path[:] = [entry, *(folder for folder in sys.path if os.path.abspath(folder) not in theirs)]
    from jobyard.engine.template.main import main

    os._exit(main(options))  # functions that modules registered with atexit run in executors only
