"""The Python client: what a program imports that submits jobs and asks after them. Needs httpx; nothing else of Jobyard does.

`core.py` knows every operation, without sockets; `Client` and `AsyncClient` carry them out. Errors: `engine/errors.py`.
"""

from engine.client.values import Execution, Health, Job, JobOptions, NewJob

try:
    from engine.client.async_client import AsyncClient
    from engine.client.sync_client import Client
except ModuleNotFoundError as missing:
    if missing.name not in ("anyio", "httpx"):
        raise
    raise ImportError(f"the client needs {missing.name}, which is not installed: pip install httpx") from missing

__all__ = ["AsyncClient", "Client", "Execution", "Health", "Job", "JobOptions", "NewJob"]
