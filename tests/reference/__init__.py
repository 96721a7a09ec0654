"""`docs/http.md`, generated from the OpenAPI document: `make reference` writes it, `test_reference.py` checks it."""
