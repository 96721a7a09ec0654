"""`docs/http.md`, drawn from the OpenAPI document: `make reference` writes it, `test_reference.py` holds it to the document."""
