.PHONY: help test test-fast lint docs bench

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST)

test:  ## Run the test suite (starts its own servers)
	pytest

test-fast:  ## Run the tests that need no server
	pytest -n 0 tests/unit

lint:  ## Check style, types and import contracts
	ruff check
	ruff format --check
	mypy
	lint-imports

docs:  ## Regenerate the generated parts of docs/ and sql/
	python -m tests.support.contract
	python -m tests.support.readme
	python -m tests.support.command_line_page
	python -m tests.support.doctor_page
	python -m tests.support.isolation_page
	python -m tests.support.picture

bench:  ## Run the benchmarks against other libraries (BENCHMARKS.md)
	python -m tests.benchmarks
