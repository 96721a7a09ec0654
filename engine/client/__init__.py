"""The Python client: `core` defines every operation without I/O; `Client` and `AsyncClient` perform them. Needs httpx."""
