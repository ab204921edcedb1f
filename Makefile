.PHONY: help test test-fast lint docs bench

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST)

test:  ## Run the suite on servers that it starts itself
	pytest

test-fast:  ## Run what needs no server
	pytest -n 0 tests/unit

lint:  ## Check style, types and who imports whom
	ruff check
	ruff format --check
	mypy
	lint-imports

docs:  ## Write the generated parts of docs/ and sql/ anew
	python -m tests.support.contract
	python -m tests.support.readme
	python -m tests.support.command_line_page
	python -m tests.support.doctor_page
	python -m tests.support.isolation_page
	python -m tests.support.picture

bench:  ## Measure against the peers: BENCHMARKS.md
	python -m tests.benchmarks
