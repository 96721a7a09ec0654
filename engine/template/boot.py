"""The script that `TASK_PYTHON -P` executes. It puts the folder that holds only `jobyard` first on `sys.path`.

The user's `PYTHONPATH` is restored after Jobyard's own imports, so that a `json.py` there cannot shadow the standard library's.
"""

import os
import sys

if __name__ == "__main__":
    entry, options = sys.argv[1:3]
    theirs = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    sys.path[:] = [entry, *(folder for folder in sys.path if os.path.abspath(folder) not in theirs)]
    from jobyard.engine.template.main import main

    os._exit(main(options))  # atexit functions that modules have registered run in executors only
