# One command checks all: `make check`.
.PHONY: help check format lint types test simulate bench reference
python = $(shell bin/environment test)

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

check: lint types test  ## all that a change must pass

format:  ## put imports in order and mend what can be mended
	$(python) -m ruff check --fix .

lint:  ## rules of the code that need no run
	$(python) -m ruff check .

types:  ## types of everything
	$(python) -m mypy

test:  ## the default suite
	bin/test

simulate:  ## random lives of the whole system on a simulated clock: SECONDS=600, START=<first seed>
	$(python) -m tests.simulation

bench:  ## the figures
	bin/bench

reference:  ## docs/http.md from the OpenAPI document
	$(python) -m tests.reference
