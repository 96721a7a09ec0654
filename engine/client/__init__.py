"""The Python client. `core` knows every operation without sockets; `Client` and `AsyncClient` carry them out. Needs httpx."""
